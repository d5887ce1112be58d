"""One leader among many processes, by an advisory lock that ends with its connection."""

import asyncio
from collections.abc import Awaitable, Callable

from hyperion import logs
from hyperion.db.backoff import Backoff
from hyperion.db.pool import Connection, Database, translated_errors
from hyperion.errors import DatabaseUnavailable

log = logs.get_logger()

TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
STANDBY_S = 1.0
CHECK_S = 10.0
CHECK_LIMIT_S = 5.0


async def while_leader(
    db: Database, key: str, work: Callable[[], Awaitable[None]], *, until: asyncio.Event | None = None
) -> None:
    """Run `work` whenever this process holds the lock `key`; cancel it when the lock may be lost.

    Returns when `work` does, and on standby when `until` is set. Two leaders can overlap for
    seconds while a broken connection goes unnoticed, so what `work` writes must be fenced or
    harmless to repeat.
    """
    done = until or asyncio.Event()
    backoff = Backoff(first_s=STANDBY_S)
    while not done.is_set():
        try:
            connection = await db.connect()
        except DatabaseUnavailable:
            await asyncio.sleep(backoff.next_s())
            continue
        try:
            if not await _acquire(connection, key, done):
                return
            log.info("leader.elected", key=key)
            backoff.reset()
            if await _work_while_connected(connection, work):
                return
        except DatabaseUnavailable as error:
            log.warning("leader.deposed", key=key, reason=str(error))
            await asyncio.sleep(backoff.next_s())
        finally:
            connection.terminate()


async def _acquire(connection: Connection, key: str, done: asyncio.Event) -> bool:
    """Wait for the lock; False where `done` came first."""
    delay_s = STANDBY_S / 16  # after a restart the predecessor's lock goes within milliseconds
    with translated_errors():
        while not await connection.fetchval(TRY_LOCK, key, timeout=CHECK_LIMIT_S):
            if done.is_set():
                return False
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, STANDBY_S)
    return True


async def _work_while_connected(connection: Connection, work: Callable[[], Awaitable[None]]) -> bool:
    """Return True when `work` is done. Raises DatabaseUnavailable when the connection went first."""
    working = asyncio.ensure_future(work())
    watching = asyncio.ensure_future(watch(connection))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        watching.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    return False


async def watch(connection: Connection) -> None:
    """Return never: raise DatabaseUnavailable once the connection is lost; it is tested by itself."""
    closed = asyncio.Event()
    connection.add_termination_listener(lambda _: closed.set())
    while not connection.is_closed():
        try:
            async with asyncio.timeout(CHECK_S):
                await closed.wait()
        except TimeoutError:
            with translated_errors():
                await connection.fetchval("SELECT 1", timeout=CHECK_LIMIT_S)
    raise DatabaseUnavailable("the connection that holds the lock is closed")
