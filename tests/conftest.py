"""What every test may ask for: a Postgres server, a fresh migrated database, a connection to it."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from hyperion import logs
from hyperion.db import Database, migrations
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.queue import Wakeup
from tests.chaos.proxy import Proxy, socket_of

TEMPLATE = "hyperion_template"
LONG = {"chaos", "fuzz", "lifecycle"}  # the folders of tests that start whole trees
logs.configure("warning")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of the many trees would compile everything again
_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start trees at the head of each half: two workers begin with a half each.

    So neither is left with minutes of them at the end while the other has nothing to take over.
    """
    long = [item for item in items if item.path.parent.name in LONG]
    short = [item for item in items if item.path.parent.name not in LONG]
    head, middle = long[0::2], long[1::2]
    cut = max(0, len(items) // 2 - len(head))
    items[:] = [*head, *short[:cut], *middle, *short[cut:]]


def server_binaries() -> Path | None:
    """Return the folder of another Postgres to test against (TEST_PG_BIN), or None."""
    chosen = os.environ.get("TEST_PG_BIN")
    return Path(chosen) if chosen else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server for the whole run, with a migrated template database."""
    with tempfile.TemporaryDirectory(prefix="hyperion-test-") as folder:
        server = EmbeddedPostgres(Path(folder), binaries=server_binaries(), durable=False)
        server.start()
        migrations.apply(server.ensure_database(TEMPLATE))
        yield server
        server.stop(immediate=True)


@pytest.fixture
def passable_folder() -> Iterator[Path]:
    """A folder for a server of the test's own, which as root runs under another account.

    The way to `tmp_path` is closed to other accounts whenever another run of pytest begins.
    """
    with tempfile.TemporaryDirectory(prefix="hyperion-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def make_database(postgres: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """Make databases that are at the current schema and empty; they go after the test."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{next(_numbers)}"
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        made.append(name)
        return postgres.url(name)

    yield make
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(make_database: Callable[[], str]) -> str:
    """The URL of a fresh database."""
    return make_database()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A pool on a fresh database."""
    async with Database(database_url, name="test", max_connections=10) as database:
        yield database


@pytest.fixture
async def wakeup(db: Database) -> AsyncIterator[Wakeup]:
    """A wake-up connection that is running; bells asked for later are not heard."""
    wakeup = Wakeup(db)
    running = asyncio.create_task(wakeup.run())
    yield wakeup
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def proxy(postgres: EmbeddedPostgres) -> AsyncIterator[Proxy]:
    """A network to the server that can be as bad as one."""
    proxy = Proxy(socket_of(postgres))
    await proxy.start()
    yield proxy
    await proxy.stop()
