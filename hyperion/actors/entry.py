"""The first steps of an actor's process, between the fork and its event loop."""

import ctypes
import faulthandler
import multiprocessing.forkserver
import os
import signal
import sys
from typing import Any

import setproctitle
import uvloop

from hyperion import logs
from hyperion.actors.actor import EXIT_BUG, EXIT_ORPHANED, Actor
from hyperion.actors.archiver import Archiver
from hyperion.actors.metrics import Metrics
from hyperion.actors.reaper import Reaper
from hyperion.actors.specs import Life
from hyperion.actors.web import Web
from hyperion.actors.worker import Worker
from hyperion.settings import Settings

log = logs.get_logger()

ACTORS: dict[str, type[Actor]] = {
    "archiver": Archiver,
    "metrics": Metrics,
    "reaper": Reaper,
    "web": Web,
    "worker": Worker,
}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def run(life: Life, settings: Settings) -> None:
    """Live one life of an actor and exit with its code."""
    fork_server_pid = os.getppid()
    _die_with_fork_server()
    if os.getppid() != fork_server_pid:
        os._exit(EXIT_ORPHANED)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the fork server ignores it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which tells us
    faulthandler.enable()  # SIGABRT prints every thread's stack
    setproctitle.setproctitle(f"hyperion: {life.spec.kind} {life.label}")
    logs.configure(settings.log_level, console=settings.dev and sys.stdout.isatty())
    logs.bind(actor=life.label)
    try:
        code = uvloop.run(_live(life, settings))
    except Exception:
        log.exception("actor.crashed")
        code = EXIT_BUG
    sys.stdout.flush()
    sys.exit(code)


async def _live(life: Life, settings: Settings) -> int:
    return await ACTORS[life.spec.kind](life, settings).main()


def _die_with_fork_server() -> None:
    """Make the kernel kill this process when the fork server dies, however stuck it is by then.

    The fork server itself ends when the last holder of its "alive" pipe is gone. Children inherit
    that pipe; they must let go of it, so that the supervisor is the only one who keeps it open.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    server: Any = multiprocessing.forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
