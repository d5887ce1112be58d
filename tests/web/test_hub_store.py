"""Photos on the Hub as people see them: their address, their bytes, and how the store is doing."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from hyperion.media.store import HubStore, Item, make_hub
from hyperion.settings import load
from hyperion.web.keys import STORE
from tests.hub.server import TOKEN, Hub, running
from tests.web.conftest import SMALL, Person, Site

REPO = "ada/photos"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running(tmp_path / "hub") as server:
        yield server


@pytest.fixture(params=["private", "public"])
async def store(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path) -> AsyncIterator[HubStore]:
    given = {
        "DATABASE_URL": "postgresql://nobody/nothing",
        "SECRET_KEY": "k" * 32,
        "HF_TOKEN": TOKEN,
        "HF_REPO_ID": REPO,
        "HF_ENDPOINT": hub.url,
        "HYPERION_VAR": str(tmp_path / "var"),
        "HYPERION_HUB_PRIVATE": str(request.param == "private"),
    }
    store = make_hub(load(given))
    yield store
    await store.close()


async def put(site: Site, store: HubStore, person: Person) -> UUID:
    """Upload a photo and do what the archiver and a worker do."""
    media_id = await person.photo()
    path = await site.db.fetch_value("SELECT store_path FROM media WHERE id = $1", media_id)
    source = site.settings.var_dir / "source"
    source.write_bytes(SMALL)
    await store.put_many([Item(path, source)])
    await site.db.execute("UPDATE media SET stored_at = now() WHERE id = $1", media_id)
    await site.db.execute("DELETE FROM media_blob WHERE media_id = $1", media_id)
    return media_id


async def test_the_address_of_a_photo_works_as_it_stands(site: Site, store: HubStore, ada: Person, hub: Hub) -> None:
    site.app[STORE] = store  # type: ignore[misc]
    media_id = await put(site, store, ada)

    shown = (await (await ada.get("/api/vault")).json())["items"][0]["image_url"]
    answer = await ada.get(shown) if shown.startswith("/") else await fetch(shown)

    assert shown.startswith(hub.url if not hub.repository(REPO).is_private else f"/api/media/{media_id}/image")
    assert answer == SMALL if isinstance(answer, bytes) else await answer.read() == SMALL


async def fetch(url: str) -> bytes:
    """Fetch as anybody would, without a token."""
    import aiohttp  # noqa: PLC0415

    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()
