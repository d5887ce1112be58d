"""The embedded Postgres: made once, kept, brought back, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import psycopg
import pytest

from hyperion.db import Database, embedded, migrations
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.errors import DatabaseUnavailable
from tests.servers import make_server, server_binaries
from tests.until import until


@pytest.fixture
def server(passable_folder: Path) -> Iterator[EmbeddedPostgres]:
    server = make_server(passable_folder)
    server.start()
    yield server
    server.stop(immediate=True)


def answers(server: EmbeddedPostgres) -> bool:
    try:
        with psycopg.connect(server.url()) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_data_outlives_a_restart(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.ensure_database("kept")) as connection:
        connection.execute("CREATE TABLE a AS SELECT 42 AS b")
    server.stop()
    server.start()

    with psycopg.connect(server.ensure_database("kept")) as connection:
        assert connection.execute("SELECT b FROM a").fetchone() == (42,)


def test_a_stop_may_be_called_twice(server: EmbeddedPostgres) -> None:
    server.stop()
    server.stop()

    assert not answers(server)


async def test_a_killed_server_is_brought_back(server: EmbeddedPostgres) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)

    def back() -> bool:
        server.ensure_running()
        return answers(server)

    await until(back, within_s=30)


async def test_a_server_that_was_shut_down_on_purpose_is_left_down_for_a_while(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGINT)
    await until(lambda: not server.pid)

    server.ensure_running()

    assert not answers(server)
    monkeypatch.setattr(embedded, "_SHUT_DOWN_WAIT_S", 0)
    server.ensure_running()
    await until(lambda: answers(server))


async def test_who_adopted_a_server_brings_it_back_when_it_crashes(
    server: EmbeddedPostgres, passable_folder: Path
) -> None:
    adopter = EmbeddedPostgres(passable_folder, binaries=server_binaries(), durable=False)
    adopter.start()
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: not server.pid)

    def back() -> bool:
        adopter.ensure_running()
        return answers(adopter)

    await until(back, within_s=30)
    adopter.stop(immediate=True)


def test_a_server_that_is_shutting_down_is_waited_for_and_started_again(
    server: EmbeddedPostgres, passable_folder: Path
) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGINT)
    second = EmbeddedPostgres(passable_folder, binaries=server_binaries(), durable=False)

    second.start()

    assert second.pid
    assert answers(second)
    second.stop(immediate=True)


def test_a_server_that_runs_already_is_used_and_left_running(server: EmbeddedPostgres, passable_folder: Path) -> None:
    second = EmbeddedPostgres(passable_folder, binaries=server_binaries())

    second.start()
    second.stop()

    assert answers(server)


async def test_the_server_dies_with_whoever_started_it(passable_folder: Path) -> None:
    code = (
        "import sys, time, pathlib; from hyperion.db.embedded import EmbeddedPostgres;"
        "s = EmbeddedPostgres(pathlib.Path(sys.argv[1])); s.start(); print(s.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(passable_folder)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout
        pid = next(int(line) for line in starter.stdout if line.strip().isdigit())
        starter.kill()

    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_half_made_folder_is_made_again(passable_folder: Path) -> None:
    (passable_folder / "pgdata").mkdir()
    (passable_folder / "initdb-killed" / "pgdata").mkdir(parents=True)
    server = EmbeddedPostgres(passable_folder, binaries=server_binaries(), durable=False)

    server.start()

    assert answers(server)
    server.stop(immediate=True)


async def test_an_empty_database_says_which_migrations_it_lacks(postgres: EmbeddedPostgres) -> None:
    async with Database(postgres.ensure_database("empty"), name="test") as db:
        assert await migrations.pending(db) == migrations.needed()


async def test_migrations_go_up_and_down_and_up_again_and_a_stale_lock_does_not_matter(
    postgres: EmbeddedPostgres,
) -> None:
    url = postgres.ensure_database("up_and_down")
    migrations.apply(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO yoyo_lock (locked, pid) VALUES (1, 1)")

    undone = migrations.roll_back(url)
    done = migrations.apply(url)

    assert done == undone[::-1] == migrations.needed()
    async with Database(url, name="test") as db:
        assert await migrations.pending(db) == []


async def test_a_database_that_is_away_is_one_error(tmp_path: Path) -> None:
    async with Database(f"postgresql://postgres@/x?host={tmp_path}", name="test") as db:
        with pytest.raises(DatabaseUnavailable):
            await db.fetch("SELECT 1")
        with pytest.raises(DatabaseUnavailable):
            await db.connect()


async def test_a_cut_connection_is_one_error_and_the_next_query_works(db: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await db.fetch("SELECT pg_terminate_backend(pg_backend_pid())")

    assert await db.fetch_value("SELECT 1") == 1


async def test_a_fault_of_a_file_inside_a_transaction_is_not_the_databases(db: Database, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with db.transaction():
            (tmp_path / "absent").read_bytes()


@pytest.mark.parametrize("arguments", [("no number",), (1, 2)], ids=["wrong type", "too many"])
async def test_a_wrong_argument_is_not_an_absent_database(db: Database, arguments: tuple[object, ...]) -> None:
    with pytest.raises((asyncpg.InterfaceError, asyncpg.DataError)):
        await db.fetch("SELECT $1::int", *arguments)


async def test_a_query_that_takes_too_long_is_given_up(db: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await db.fetch("SELECT pg_sleep(10)", timeout_s=0.1)

    assert await db.fetch_value("SELECT 1") == 1


async def test_a_query_that_is_cancelled_ends_cancelled_though_the_server_does_not_answer(
    server: EmbeddedPostgres,
) -> None:
    async with Database(server.url(), name="test") as db:
        pid = await db.fetch_value("SELECT pg_backend_pid()")
        os.kill(pid, signal.SIGSTOP)
        try:
            for act in (_query, _transact):
                asked = asyncio.create_task(act(db))
                await asyncio.wait({asked}, timeout=0.2)
                asked.cancel()

                done, _ = await asyncio.wait({asked}, timeout=10)

                assert done
                assert asked.cancelled()
        finally:
            os.kill(pid, signal.SIGCONT)


async def _query(db: Database) -> None:
    await db.fetch_value("SELECT pg_sleep(60)")


async def _transact(db: Database) -> None:
    async with db.transaction() as connection:
        await connection.fetchval("SELECT pg_sleep(60)")
