"""Connections that are lent and come back: opened on demand, never more than so many, closed when idle."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg

IDLE_S = 60.0
CLOSE_LIMIT_S = 1.0


class Connections:
    """A stack of idle connections: the one that came back last is lent first, so that the others grow old.

    The driver's own pool takes three times as long for a short statement: a proxy, a task, a timer and
    two futures for each loan.
    """

    def __init__(
        self, open_one: Callable[[], Awaitable[asyncpg.Connection]], *, most: int, idle_s: float = IDLE_S
    ) -> None:
        self._open_one = open_one
        self._idle_s = idle_s
        self._idle: deque[tuple[asyncpg.Connection, float]] = deque()  # with the time of their coming back
        self._lent: set[asyncpg.Connection] = set()
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
            connection = self._take_idle() or await self._open_one()
        except BaseException:
            self._places.release()
            raise
        self._lent.add(connection)
        return connection

    def give_back(self, connection: asyncpg.Connection) -> None:
        """Take a connection back; one that is broken or still in a transaction is dropped."""
        self._lent.discard(connection)
        self._places.release()
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((connection, loop.time()))
        if self._shedding is None:
            self._shedding = loop.call_later(self._idle_s, self._shed)

    async def close(self) -> None:
        """Close all that are idle; those that are lent get a second to come home. May be called twice."""
        with suppress(TimeoutError, OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                while self._idle or self._lent:
                    if connection := self._take_idle():
                        await connection.close()
                    else:
                        await asyncio.sleep(0.01)
        if self._shedding:
            self._shedding.cancel()
        for connection in [*self._lent, *(idle for idle, _ in self._idle)]:
            connection.terminate()
        self._idle.clear()

    def _take_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
            connection.terminate()  # the server closed it; this frees what is left of it
        return None

    def _shed(self) -> None:
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0][1] + self._idle_s <= loop.time():
            self._idle.popleft()[0].terminate()
        self._shedding = loop.call_at(self._idle[0][1] + self._idle_s, self._shed) if self._idle else None
