"""What pid 1 owes the others: reaping the processes that were left to it."""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable
from multiprocessing import resource_tracker

import psutil

from hyperion import logs

log = logs.get_logger()

_PR_SET_CHILD_SUBREAPER = 36


class OrphanReaper:
    """Reaps dead children that this process did not start itself.

    Those that it did start are reaped by who started them: `ours` names them; the resource tracker
    of multiprocessing is spared as well.
    """

    def __init__(self, ours: Callable[[], set[int | None]]) -> None:
        self._ours = ours

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Adopt orphaned descendants, as pid 1 does anyway, and reap whenever a child dies."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def reap(self) -> int:
        """Reap every dead orphan; return how many there were."""
        tracker: int | None = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
        spared = self._ours() | {tracker}
        reaped = 0
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
                if child.pid not in spared and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)
                    reaped += 1
        if reaped:
            log.debug("orphan.reaped", count=reaped)
        return reaped
