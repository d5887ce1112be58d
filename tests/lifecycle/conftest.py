"""Trees and users for the lifecycle tests."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hyperion.db.embedded import EmbeddedPostgres
from tests.conftest import server_binaries
from tests.lifecycle.tree import Tree, User


@pytest.fixture
def make_tree(database_url: str, passable_folder: Path) -> Iterator[Callable[..., Tree]]:
    """Make trees on the test's database, or another; settings by their environment names."""
    trees: list[Tree] = []

    def make(*, url: str = database_url, dev: bool = False, **settings: str) -> Tree:
        trees.append(Tree(url, passable_folder, dev=dev, **settings))
        return trees[-1]

    yield make
    for tree in trees:
        tree.close()


@pytest.fixture
async def sign_in() -> AsyncIterator[Callable[[Tree], object]]:
    """Sign up new users with a tree's web process."""
    async with AsyncExitStack() as stack:

        async def enter(tree: Tree) -> User:
            return await stack.enter_async_context(User(tree.base))

        yield enter


@pytest.fixture
def own_postgres(passable_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test may stop, kill and start."""
    server = EmbeddedPostgres(passable_folder / "server", binaries=server_binaries(), durable=False)
    server.start()
    yield server
    server.stop(immediate=True)
