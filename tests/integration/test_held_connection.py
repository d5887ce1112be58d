"""The connection that one user keeps: what it outlives, and when it is given up for another."""

import asyncio
import os
import signal
from contextlib import suppress

import asyncpg
import pytest

from hyperion.db import Database, HeldConnection
from hyperion.errors import DatabaseUnavailable
from tests.until import until

PID = "SELECT pg_backend_pid()"


async def pid(held: HeldConnection) -> int:
    return int((await held.fetch(PID))[0][0])


async def test_statements_one_after_the_other_and_at_once_go_over_the_same_connection(db: Database) -> None:
    held = db.held()

    assert len({await pid(held), *await asyncio.gather(pid(held), pid(held))}) == 1


async def test_a_statement_whose_columns_a_migration_changed_is_refused_once_and_then_gives_the_new_ones(
    db: Database,
) -> None:
    await db.execute("CREATE TABLE sample (value integer)")
    await db.execute("INSERT INTO sample VALUES (1)")
    held = db.held()
    query = "SELECT value FROM sample"
    before = [row["value"] for row in await held.fetch(query)]

    await db.execute("ALTER TABLE sample ALTER value TYPE text")
    with pytest.raises(DatabaseUnavailable):
        await held.fetch(query)

    assert (before, [row["value"] for row in await held.fetch(query)]) == ([1], ["1"])


async def test_a_statement_at_fault_is_said_to_be_so_and_costs_no_connection(db: Database) -> None:
    held = db.held()
    first = await pid(held)

    for query, arguments, error in (
        ("SELECT 1 / $1::integer", [0], asyncpg.DivisionByZeroError),
        ("SELECT $1::integer", ["one"], asyncpg.DataError),
        ("SELECT $1::integer", [], asyncpg.InterfaceError),
        ("SELECT nothing", [], asyncpg.UndefinedColumnError),
    ):
        with pytest.raises(error):
            await held.fetch(query, *arguments)

    assert await pid(held) == first


async def test_a_statement_whose_parameters_a_migration_changed_takes_the_new_ones_at_the_second_try(
    db: Database,
) -> None:
    await db.execute("CREATE TABLE sample (value integer)")
    held = db.held()
    query = "SELECT 1 FROM sample WHERE value = $1"
    await held.fetch(query, 1)

    await db.execute("ALTER TABLE sample ALTER value TYPE bigint")
    with pytest.raises(asyncpg.DataError):
        await held.fetch(query, 2**40)

    assert await held.fetch(query, 2**40) == []


async def test_statements_that_somebody_discarded_are_refused_once(db: Database) -> None:
    held = db.held()
    await pid(held)

    await held.fetch("DEALLOCATE ALL")
    with pytest.raises(DatabaseUnavailable):
        await pid(held)

    assert await pid(held)


async def test_a_statement_that_is_not_answered_in_time_costs_the_connection(database_url: str) -> None:
    async with Database(database_url, name="test", query_timeout_s=0.5) as db:
        held = db.held()
        first = await pid(held)
        os.kill(first, signal.SIGSTOP)
        try:
            with pytest.raises(DatabaseUnavailable):
                await pid(held)

            assert await pid(held) != first
        finally:
            os.kill(first, signal.SIGCONT)


async def test_a_statement_under_way_is_given_up_when_the_database_is_closed(database_url: str, db: Database) -> None:
    closing = Database(database_url, name="test")
    held = closing.held()
    sleeping = asyncio.create_task(held.fetch("SELECT pg_sleep(60)"))
    await until(lambda: somebody_sleeps(db))

    await closing.close()

    with pytest.raises(DatabaseUnavailable):
        await sleeping


async def test_after_a_cancelled_statement_the_next_goes_over_another_connection(db: Database) -> None:
    held = db.held()
    first = await pid(held)
    sleeping = asyncio.create_task(held.fetch("SELECT pg_sleep(60)"))
    await until(lambda: somebody_sleeps(db))

    sleeping.cancel()
    with suppress(asyncio.CancelledError):
        await sleeping

    assert await pid(held) != first


async def somebody_sleeps(db: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    return bool(await db.fetch_value(query))


async def test_a_connection_that_the_server_closed_is_replaced_by_the_next_statement_or_the_one_after(
    db: Database,
) -> None:
    held = db.held()
    first = await pid(held)

    await db.execute("SELECT pg_terminate_backend($1)", first)
    with suppress(DatabaseUnavailable):
        await pid(held)

    assert await pid(held) != first
