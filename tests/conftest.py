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
from tests.servers import make_server, quick_folder

TEMPLATE = "hyperion_template"
LONG = {"chaos", "fuzz", "lifecycle"}  # the folders of tests that start whole trees
SHARED_TREES = {"shared_tree", "life_of_a_tree"}  # the fixtures of tests that share one
logs.configure("warning")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of the many trees would compile everything again
_numbers = itertools.count(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run half as many tests again as there are cores: much of a test is waiting."""
    return max(2, len(os.sched_getaffinity(0)) * 3 // 2)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start trees at the head of each worker's part: of this list xdist gives each an equal one.

    So none is left with minutes of them at the end while the others have nothing to take over.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.path.parent.name in LONG and not _shares_a_tree(item)]
    short = [item for item in items if item.path.parent.name not in LONG]
    short[:0] = [item for item in items if _shares_a_tree(item)]  # all of them to the first worker
    total = len(items)
    items.clear()
    for number in range(workers):
        head = long[number::workers]
        rest = max(0, (total - len(items)) // (workers - number) - len(head))
        items += head + short[:rest]
        del short[:rest]


def _shares_a_tree(item: pytest.Item) -> bool:
    return not SHARED_TREES.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server for the whole run, with a migrated template database."""
    with tempfile.TemporaryDirectory(prefix="hyperion-test-", dir=quick_folder()) as folder:
        server = make_server(Path(folder))
        server.start()
        migrations.apply(server.ensure_database(TEMPLATE))
        yield server
        server.stop(immediate=True)


@pytest.fixture
def passable_folder() -> Iterator[Path]:
    """A folder for a server of the test's own, which as root runs under another account.

    The way to `tmp_path` is closed to other accounts whenever another run of pytest begins.
    """
    with tempfile.TemporaryDirectory(prefix="hyperion-test-", dir=quick_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def copy_template(server: EmbeddedPostgres, name: str) -> str:
    """Make a database that is at the current schema and empty; return its URL."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY".encode())
    return server.url(name)


@pytest.fixture
def make_database(postgres: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """Make databases that are at the current schema and empty; they go after the test."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{next(_numbers)}"
        url = copy_template(postgres, name)
        made.append(name)
        return url

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
