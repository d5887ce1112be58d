"""The pool: who is lent which connection, and what becomes of those that are broken or idle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from hyperion.db import Database
from hyperion.db.connections import Connections
from hyperion.errors import DatabaseUnavailable
from tests.until import until


@pytest.fixture
async def connections(database_url: str) -> AsyncIterator[Connections]:
    """Two that are closed as soon as they are idle for a moment."""

    async def open_one() -> asyncpg.Connection:
        return await asyncpg.connect(database_url)

    connections = Connections(open_one, most=2, idle_s=0.05)
    yield connections
    await connections.close()


async def pid(db: Database) -> int:
    return int(await db.fetch_value("SELECT pg_backend_pid()"))


async def test_one_after_the_other_is_lent_the_same_connection(db: Database) -> None:
    assert await pid(db) == await pid(db)


async def test_the_one_that_is_open_for_longest_is_lent_first_whichever_came_back_last(
    connections: Connections,
) -> None:
    first, second = [await connections.borrow(timeout_s=1) for _ in range(2)]
    for order in ([first, second], [second, first]):
        for connection in order:
            connections.give_back(connection)

        assert [await connections.borrow(timeout_s=1) for _ in range(2)] == [first, second]


async def test_at_once_each_is_lent_its_own_and_one_too_many_is_told_so(database_url: str) -> None:
    async with Database(database_url, name="test", max_connections=2) as db:
        async with db.connection() as first, db.connection() as second:
            assert first is not second
            with pytest.raises(DatabaseUnavailable):
                async with db.connection(timeout_s=0.05):
                    pass
        assert db.in_use == 0
        await pid(db)


async def test_a_borrower_that_stops_waiting_takes_nobodys_place(database_url: str) -> None:
    async with Database(database_url, name="test", max_connections=1) as db:
        async with db.connection():
            waiting = asyncio.create_task(pid(db))
            await asyncio.sleep(0)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        assert await asyncio.gather(pid(db), pid(db))


async def test_a_connection_that_is_in_a_transaction_is_not_lent_again(db: Database) -> None:
    async with db.connection() as connection:
        await connection.execute("BEGIN")
        before = await connection.fetchval("SELECT pg_backend_pid()")

    assert await pid(db) != before


async def test_a_connection_that_the_server_closed_is_not_lent_again(db: Database) -> None:
    async with db.connection() as connection:
        closed = await connection.fetchval("SELECT pg_backend_pid()")
    other = await db.connect()
    await other.execute("SELECT pg_terminate_backend($1)", closed)
    await until(connection.is_closed)

    assert await pid(db) != closed
    await other.close()


async def test_what_is_idle_for_long_is_closed(connections: Connections) -> None:
    lent = [await connections.borrow(timeout_s=1), await connections.borrow(timeout_s=1)]
    for connection in lent:
        connections.give_back(connection)

    await until(lambda: all(connection.is_closed() for connection in lent))

    again = await connections.borrow(timeout_s=1)
    assert await again.fetchval("SELECT 1") == 1
    connections.give_back(again)
    await connections.close()
    assert again.is_closed()


async def test_closing_waits_no_longer_than_a_second_for_who_does_not_come_home(database_url: str) -> None:
    db = Database(database_url, name="test")
    async with db.connection() as connection:
        await asyncio.wait_for(db.close(), 10)

        assert connection.is_closed()
    await db.close()
