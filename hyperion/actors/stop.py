"""The wish to stop, from the first moment of the process on."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from hyperion import logs
from hyperion.errors import DatabaseUnavailable

log = logs.get_logger()

T = TypeVar("T")

RETRY_S = 0.25


class Stop:
    """What signals ask for: SIGTERM or SIGINT to stop in order, a second one or SIGQUIT at once.

    As pid 1 a process has no default for signals: what it does not handle is ignored.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the signals from now on."""
        loop.add_signal_handler(signal.SIGTERM, self.ask)
        loop.add_signal_handler(signal.SIGINT, self.ask)
        loop.add_signal_handler(signal.SIGQUIT, self.force)

    def ask(self) -> None:
        """Ask to stop in order; asked again, at once."""
        if self.asked.is_set():
            self.forced.set()
        self.asked.set()

    def force(self) -> None:
        """Ask to stop at once."""
        self.forced.set()
        self.asked.set()

    async def wait(self, limit_s: float | None) -> bool:
        """Wait to be asked, at most so long; tell whether it was."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.asked.wait()
        return self.asked.is_set()

    async def unless(self, work: Awaitable[T]) -> T | None:
        """Await `work`; cancel it and return None where the stop comes first."""
        working = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self.asked.wait())
        try:
            await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            for task in (working, asked):
                task.cancel()
            await asyncio.gather(working, asked, return_exceptions=True)

    async def until_answered(self, attempt: Callable[[], Awaitable[T]], *, budget_s: float) -> T | None:
        """Await `attempt()` until the database answers; return None where the stop comes first.

        Raises DatabaseUnavailable when it has not answered after `budget_s` seconds.
        """
        deadline_s = time.monotonic() + budget_s
        while not self.asked.is_set():
            try:
                return await attempt()
            except DatabaseUnavailable as error:
                if time.monotonic() > deadline_s:
                    raise
                log.warning("database.awaited", reason=str(error))
                await self.wait(RETRY_S)
        return None
