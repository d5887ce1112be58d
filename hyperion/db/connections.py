"""Connections that are lent and come back: opened on demand, never more than so many, closed when idle."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import asyncpg

IDLE_S = 60.0
CLOSE_LIMIT_S = 1.0


class _Idle(NamedTuple):
    number: int  # in the order of opening
    since_s: float
    connection: asyncpg.Connection


class Connections:
    """A pool that lends the connection first that it has had for longest, so that the others grow old.

    That one has the statements prepared and planned. A connection costs 30 ms until it has: were the last
    one to come back lent, a heartbeat during a transaction would make the next go over another one.

    The driver's own pool takes three times as long for a short statement: a proxy, a task, a timer and
    two futures for each loan.
    """

    def __init__(
        self, open_one: Callable[[], Awaitable[asyncpg.Connection]], *, most: int, idle_s: float = IDLE_S
    ) -> None:
        self._open_one = open_one
        self._idle_s = idle_s
        self._idle: list[_Idle] = []  # a heap
        self._lent: dict[asyncpg.Connection, int] = {}
        self._numbers = itertools.count()
        self._places = asyncio.Semaphore(most)
        self._shedding: asyncio.TimerHandle | None = None

    @property
    def in_use(self) -> int:
        """How many are lent at the moment."""
        return len(self._lent)

    async def borrow(self, *, timeout_s: float) -> asyncpg.Connection:
        """Lend a connection that is open as far as anybody knows.

        Raises TimeoutError when none comes back in time, and what opening one raises.
        """
        if self._places.locked():
            async with asyncio.timeout(timeout_s):
                await self._places.acquire()
        else:
            await self._places.acquire()  # at once
        try:
            idle = self._take_idle()
            connection = idle.connection if idle else await self._open_one()
        except BaseException:
            self._places.release()
            raise
        self._lent[connection] = idle.number if idle else next(self._numbers)
        return connection

    def give_back(self, connection: asyncpg.Connection) -> None:
        """Take a connection back; one that is broken or still in a transaction is dropped."""
        number = self._lent.pop(connection)
        self._places.release()
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            return
        loop = asyncio.get_running_loop()
        heapq.heappush(self._idle, _Idle(number, loop.time(), connection))
        if self._shedding is None:
            self._shedding = loop.call_later(self._idle_s, self._shed)

    async def close(self) -> None:
        """Close all that are idle; those that are lent get a second to come home. May be called twice."""
        with suppress(TimeoutError, OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                while self._idle or self._lent:
                    if idle := self._take_idle():
                        await idle.connection.close()
                    else:
                        await asyncio.sleep(0.01)
        if self._shedding:
            self._shedding.cancel()
        for connection in [*self._lent, *(idle.connection for idle in self._idle)]:
            connection.terminate()
        self._idle.clear()

    def _take_idle(self) -> _Idle | None:
        while self._idle:
            idle = heapq.heappop(self._idle)
            if not idle.connection.is_closed():
                return idle
            idle.connection.terminate()  # the server closed it; this frees what is left of it
        return None

    def _shed(self) -> None:
        loop = asyncio.get_running_loop()
        old = [idle for idle in self._idle if idle.since_s + self._idle_s <= loop.time()]
        for idle in old:
            self._idle.remove(idle)
            idle.connection.terminate()
        heapq.heapify(self._idle)
        next_s = min((idle.since_s for idle in self._idle), default=None)
        self._shedding = None if next_s is None else loop.call_at(next_s + self._idle_s, self._shed)
