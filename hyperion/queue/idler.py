"""How a claimer waits for work: known to those who bring it, so that a task wakes one and not all."""

import asyncio

from hyperion.errors import DatabaseUnavailable
from hyperion.queue.tasks import SQL, Claimer, Lease
from hyperion.queue.wakeup import Wakeup, claimer_channel

_INTERRUPTED = "interrupted"


class Idler:
    """Claims through `claimer`, and waits for a wake-up when there is nothing to claim.

    Whoever waits has said so in the database before it looked for the last time, so a task that came
    after that look finds it waiting. Whoever was woken and has no use for it wakes another. A wake-up
    can still be lost with the process that it was meant for, so look again from time to time.

    Settle what was claimed before you call `claim` again: who holds a lease is not known to wait.
    """

    def __init__(self, wakeup: Wakeup, claimer: Claimer) -> None:
        self._wakeup = wakeup
        self._claimer = claimer
        self._bell = wakeup.bell(claimer_channel(claimer.boot))
        self._is_listed: bool | None = False  # None: nobody knows
        self._connected = 0
        self._is_woken = False

    async def claim(self, limit: int) -> list[Lease]:
        """Lease up to `limit` tasks as the claimer does; where there are none, be known to wait."""
        leases = await self._claimer.claim(limit)
        if not leases:
            self._is_woken = False
            if not self._is_listed:
                self._is_listed = None
                await self._claimer.connection.fetch(SQL.wait_for_work, self._claimer.boot, self._claimer.lane)
                self._is_listed = True
                leases = await self._claimer.claim(limit)
        if leases and self._is_listed is not False:
            try:
                await self.leave()
            except DatabaseUnavailable:
                pass  # a wake-up may be lost, but not what was claimed
            except asyncio.CancelledError:
                self._claimer.forget(leases)  # nobody will settle them
                self._claimer.doubt()
                raise
        self._is_woken = False
        return leases

    async def wait(self, timeout_s: float) -> None:
        """Wait for a wake-up, or until the time is over."""
        if await self._bell.wait(timeout_s) - {_INTERRUPTED}:
            self._is_woken = True
            # A ring has taken the mark; a new connection strikes the bell and takes nothing.
            self._is_listed = False if self._wakeup.connected == self._connected else None
            self._connected = self._wakeup.connected

    def interrupt(self) -> None:
        """Let `wait` return at once."""
        self._bell.strike(_INTERRUPTED)

    async def leave(self) -> None:
        """Be not known to wait any more. Raises DatabaseUnavailable."""
        if self._is_listed is not False:
            self._is_listed = None
            if not await self._claimer.connection.fetch(SQL.wait_no_more, self._claimer.boot):
                self._is_woken = True
        self._is_listed = False
        if self._is_woken:
            self._wakeup.ring_lane(self._claimer.lane)
        self._is_woken = False
