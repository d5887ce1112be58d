"""The standard library's fork server, from which all actors come: launch it, find it, end it.

This module imports next to nothing: it runs first, so that what the fork server imports is
imported beside whatever else a start has to do.
"""

import contextlib
import multiprocessing.forkserver
import os
import signal

PRELOADED = "hyperion.actors.preload"


def launch() -> None:
    """Launch the fork server and return at once; where it runs already, do nothing."""
    multiprocessing.forkserver.set_forkserver_preload([PRELOADED])
    multiprocessing.forkserver.ensure_running()


def pid() -> int | None:
    """Return the process id of the fork server, once there is one."""
    found: int | None = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return found


def kill() -> None:
    """Kill the fork server, and by that all its children."""
    if number := pid():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def end() -> None:
    """End the fork server and wait for its end; all its children must be dead."""
    kill()
    with contextlib.suppress(ChildProcessError, OSError):
        multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
