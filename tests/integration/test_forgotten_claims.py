"""Claims do not wait for the disk: a crash of the server may forget them, and nothing is done twice."""

import itertools
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from hyperion import queue
from hyperion.db import Database, migrations
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.errors import DatabaseUnavailable, LeaseLost
from hyperion.queue import Claimer, Lease, NewTask
from tests.conftest import TEMPLATE
from tests.lifecycle.tree import is_dead
from tests.servers import make_server, quick_folder
from tests.until import until

LANE = "test"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def durable_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that syncs, as in production, and that tests may crash."""
    with tempfile.TemporaryDirectory(prefix="hyperion-test-", dir=quick_folder()) as folder:
        server = make_server(Path(folder), durable=True)
        server.start()
        migrations.apply(server.ensure_database(TEMPLATE))
        yield server
        server.stop(immediate=True)


@pytest.fixture
async def durable_db(durable_postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A fresh database on it, whose log reaches the disk only where a commit waits for that."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(durable_postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    async with Database(durable_postgres.url(name), name="test") as db:
        (await log_writer(db)).suspend()
        await make_results(db)
        yield db


async def log_writer(db: Database) -> psutil.Process:
    """Return the process that writes what no commit waits for: at its leisure, or woken, as versions differ in."""

    async def pid() -> int | None:
        found: int | None = await db.fetch_value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
        return found

    return psutil.Process(await until(pid))


async def make_results(db: Database) -> None:
    await db.execute("CREATE TABLE result (task_id bigint, boot bigint)")


async def put(db: Database, count: int) -> list[int]:
    async with db.transaction() as connection:
        return await queue.enqueue(connection, [NewTask(lane=LANE, kind="noop")] * count)


async def finish(db: Database, lease: Lease) -> bool:
    """Finish as an actor does, with a result in the same transaction; tell whether it was accepted."""
    try:
        async with db.transaction() as connection:
            await connection.execute("INSERT INTO result VALUES ($1, $2)", lease.task_id, lease.boot)
            await queue.finish(connection, [lease])
    except LeaseLost:
        return False
    return True


def claimer(db: Database, boot: int) -> Claimer:
    return Claimer(db, lane=LANE, boot=boot, lease_s=60)


async def results(db: Database) -> list[int]:
    return [row["task_id"] for row in await db.fetch("SELECT task_id FROM result ORDER BY task_id")]


async def crash(postgres: EmbeddedPostgres, number: signal.Signals, db: Database) -> None:
    """Crash the server at once, start it again and wait until it answers."""
    assert postgres.pid
    server = psutil.Process(postgres.pid)
    everybody = [server, *server.children(recursive=True)]
    writer = await log_writer(db)
    os.kill(server.pid, number)
    writer.kill()
    await until(lambda: all(map(is_dead, everybody)))
    postgres.stop()
    postgres.start()

    async def answers() -> bool:
        try:
            return bool(await db.fetch_value("SELECT true"))
        except DatabaseUnavailable:
            return False

    await until(answers)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate", "killed"])
async def test_tasks_whose_claims_a_crash_forgot_are_claimed_again_and_finished_once(
    durable_postgres: EmbeddedPostgres, durable_db: Database, number: signal.Signals
) -> None:
    db = durable_db
    task_ids = await put(db, 20)
    first = await claimer(db, boot=1).claim(8) + await claimer(db, boot=2).claim(8)

    await crash(durable_postgres, number, db)
    forgotten = await db.fetch_value("SELECT count(*) = 0 FROM task_lease")
    before = [await finish(db, lease) for lease in first[:4]]
    again = await claimer(db, boot=3).claim(50)
    after = [await finish(db, lease) for lease in first[4:]]
    accepted = [await finish(db, lease) for lease in again]

    assert forgotten, "the crash came too late to test anything"
    assert (set(before), set(after), set(accepted)) == ({False}, {False}, {True})
    assert await results(db) == task_ids
    assert await queue.depths(db) == {}


async def test_after_a_crash_what_an_owner_claims_again_it_finishes_once_whatever_it_still_holds(
    durable_postgres: EmbeddedPostgres, durable_db: Database
) -> None:
    """The sequence of epochs is set back, so that both claims of one owner have the same."""
    db = durable_db
    task_ids = await put(db, 5)
    mine = claimer(db, boot=1)
    first = await mine.claim(5)

    await crash(durable_postgres, signal.SIGQUIT, db)
    again = await claimer(db, boot=1).claim(5)
    outcomes = [await finish(db, lease) for pair in zip(first, again, strict=True) for lease in pair]

    assert {lease.epoch for lease in first} == {lease.epoch for lease in again}
    assert sorted(outcomes) == [False] * 5 + [True] * 5
    assert await results(db) == task_ids


async def test_a_claim_outlives_a_crash_once_its_owner_has_committed_anything(
    durable_postgres: EmbeddedPostgres, durable_db: Database
) -> None:
    db = durable_db
    task_ids = await put(db, 1)
    [lease] = await claimer(db, boot=1).claim(1)
    async with db.transaction() as connection:
        await queue.hold(connection, lease)
        await connection.execute("CREATE TABLE began ()")

    await crash(durable_postgres, signal.SIGQUIT, db)

    assert await claimer(db, boot=2).claim(1) == []
    assert await finish(db, lease)
    assert await results(db) == task_ids


async def test_the_owner_of_a_forgotten_claim_can_neither_renew_hold_nor_finish_it(db: Database) -> None:
    await make_results(db)
    task_ids = await put(db, 1)
    forgetful = claimer(db, boot=1)
    [late] = await forgetful.claim(1)
    async with db.transaction() as connection:
        await connection.execute("DELETE FROM task_lease")
        await connection.execute(
            "INSERT INTO task_ready (lane, seq, task_id) VALUES ($1, $2, $3)", LANE, late.seq, late.task_id
        )

    await forgetful.renew()
    refused = [await finish(db, late)]
    [current] = await claimer(db, boot=2).claim(1)
    await forgetful.renew()
    refused.append(await finish(db, late))
    with pytest.raises(LeaseLost):
        async with db.transaction() as connection:
            await queue.hold(connection, late)

    assert refused == [False, False]
    assert await finish(db, current)
    assert await results(db) == task_ids
