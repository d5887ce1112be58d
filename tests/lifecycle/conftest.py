"""Trees and users for the lifecycle tests."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from hyperion.db import Database
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.web import auth, ids
from hyperion.web.passwords import Passwords
from tests.conftest import copy_template
from tests.lifecycle.tree import Tree, User, new_account
from tests.servers import make_server, quick_folder

# None of these trees speaks TLS, and each would read the certificates twice: 0.1 s of a core.
CHEAP = {"SSL_CERT_FILE": os.devnull}


@pytest.fixture
def make_tree(database_url: str, passable_folder: Path) -> Iterator[Callable[..., Tree]]:
    """Make trees on the test's database, or another; settings by their environment names."""
    trees: list[Tree] = []

    def make(*, url: str = database_url, dev: bool = False, **settings: str) -> Tree:
        trees.append(Tree(url, passable_folder, dev=dev, **CHEAP | settings))
        return trees[-1]

    yield make
    for tree in trees:
        tree.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_tree(postgres: EmbeddedPostgres) -> AsyncIterator[Tree]:
    """A running tree for the tests that leave it as it was; a photo takes it two seconds."""
    url = copy_template(postgres, "shared")
    with tempfile.TemporaryDirectory(prefix="hyperion-test-", dir=quick_folder()) as folder:
        tree = Tree(url, Path(folder), dev=False, HYPERION_SIMULATED_PROCESSING_S="2", **CHEAP)
        try:
            yield await tree.start()
        finally:
            tree.close()


async def make_account(url: str) -> dict[str, str]:
    """Sign somebody up whose password is hashed in no time: the real cost is a quarter of a second of a core."""
    account = new_account()
    async with Database(url, name="test") as db:
        password_hash = await Passwords(rounds=4).hash(account["password"])
        await db.fetch_value(auth.SQL.insert_user, ids.nanoid(), account["email"], "Ada", "en", password_hash)
    return account


@pytest.fixture
async def sign_in() -> AsyncIterator[Callable[[Tree], object]]:
    """Sign new users in with a tree's web process; up as well, where only the tree knows its database."""
    async with AsyncExitStack() as stack:

        async def enter(tree: Tree) -> User:
            url = tree.environ["DATABASE_URL"]
            account = await make_account(url) if url else None
            return await stack.enter_async_context(User(tree.base, account))

        yield enter


@pytest.fixture
def own_postgres(passable_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test may stop, kill and start."""
    server = make_server(passable_folder / "server")
    server.start()
    yield server
    server.stop(immediate=True)
