"""A Hub for the test, and stores and settings that use it. No test reaches out of the machine."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from hyperion.media.store import HubStore, Item, make_hub
from hyperion.settings import Settings, load
from tests.hub.server import TOKEN, Hub, running

REPO = "ada/photos"
PATH = "media/user/2026-05-01/1_a.jpg"
QUICK = {
    "HYPERION_HUB_LINGER_S": "0.05",
    "HYPERION_HUB_TIMEOUT_S": "3",
    "HYPERION_HUB_CONNECT_TIMEOUT_S": "1",
    "HYPERION_HUB_FIRST_PAUSE_S": "0.05",
    "HYPERION_HUB_LAST_PAUSE_S": "0.5",
    "HYPERION_HUB_REFUSED_PAUSE_S": "0.2",
    "HYPERION_HUB_STOP_S": "1",
    "HYPERION_HUB_LATE_S": "1",
    "HYPERION_SIMULATED_EXTRACTION_S": "0",
    "HYPERION_SIMULATED_PROCESSING_S": "0",
}

MakeHub = Callable[..., HubStore]
Boot = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the clients on the loopback and out of anybody's home."""
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hub-cache"))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """A Hub that nothing goes wrong with, unless the test orders it."""
    async with running(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def hub_environ(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """An environment that points to the Hub."""
    return QUICK | {
        "DATABASE_URL": "postgresql://nobody/nothing",
        "SECRET_KEY": "k" * 32,
        "HF_TOKEN": TOKEN,
        "HF_REPO_ID": REPO,
        "HF_ENDPOINT": hub.url,
        "HYPERION_VAR": str(tmp_path / "var"),
    }


@pytest.fixture
def hub_settings(hub_environ: dict[str, str]) -> Callable[..., Settings]:
    """Make settings that point to the Hub, with others by their environment names."""
    return lambda **more: load(hub_environ | more)


@pytest.fixture
async def make_hub_store(hub_settings: Callable[..., Settings]) -> AsyncIterator[MakeHub]:
    """Make stores in the Hub's repository, with settings by their environment names."""
    async with AsyncExitStack() as stack:

        def make(**more: Any) -> HubStore:
            store = make_hub(hub_settings(**more))
            stack.push_async_callback(store.close)
            return store

        yield make


@pytest.fixture(params=["xet", "lfs"])
def hub_store(make_hub_store: MakeHub, request: pytest.FixtureRequest) -> HubStore:
    """The store in the Hub's repository, by either way of sending photos."""
    return make_hub_store(HYPERION_HUB_XET=str(request.param == "xet"))


@pytest.fixture
def item(tmp_path: Path) -> Item:
    """A photo that waits to be stored at PATH."""
    (tmp_path / "source").write_bytes(b"a photo" * 1000)
    return Item(PATH, tmp_path / "source")


@pytest.fixture
def lfs_store(make_hub_store: MakeHub) -> HubStore:
    """The store in the Hub's repository, by LFS."""
    return make_hub_store(HYPERION_HUB_XET="no")


@pytest.fixture
def settings(hub_settings: Callable[..., Settings], database_url: str) -> Boot:
    """Makes the settings of an archiver on the test's database; by LFS unless told otherwise."""

    def make(**more: str) -> Settings:
        return hub_settings(
            **{"DATABASE_URL": database_url, "HYPERION_POLL_S": "0.05", "HYPERION_HUB_XET": "no"} | more
        )

    return make
