"""Photos on the Hub as people see them: their address, their bytes, and how the store is doing."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from hyperion.media.store import HubStore, Item, make_hub, state
from hyperion.settings import load
from tests.hub.server import TOKEN, Hub, running
from tests.web.conftest import SMALL, MakeSite, Person, Site

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


async def put(site: Site, person: Person) -> UUID:
    """Upload a photo and do what the archiver and a worker do."""
    media_id = await person.photo()
    path = await site.db.fetch_value("SELECT store_path FROM media WHERE id = $1", media_id)
    source = site.settings.var_dir / "source"
    source.write_bytes(SMALL)
    await site.store.put_many([Item(path, source)])
    await site.db.execute("UPDATE media SET stored_at = now() WHERE id = $1", media_id)
    await site.db.execute("DELETE FROM media_blob WHERE media_id = $1", media_id)
    return media_id


async def fetch(url: str) -> bytes:
    """Fetch as anybody would, without a token."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()


async def test_the_address_of_a_photo_works_as_it_stands(make_site: MakeSite, store: HubStore, hub: Hub) -> None:
    site = await make_site(store=store)
    ada = await site.user("ada@example.org")
    media_id = await put(site, ada)

    shown = (await (await ada.get("/api/vault")).json())["items"][0]["image_url"]
    content = await (await ada.get(shown)).read() if shown.startswith("/") else await fetch(shown)

    assert content == SMALL
    assert shown.startswith(f"/api/media/{media_id}/image" if hub.repository(REPO).is_private else hub.url)


async def test_a_photo_comes_from_the_database_while_it_is_there_and_then_from_the_hub(
    make_site: MakeSite, store: HubStore, hub: Hub
) -> None:
    site = await make_site(store=store)
    ada = await site.user("ada@example.org")
    waiting = await ada.photo()
    await hub.stop()

    early = await ada.get(f"/api/media/{waiting}/image")
    await site.db.execute("UPDATE media SET stored_at = now()")
    await site.db.execute("DELETE FROM media_blob")
    late = await ada.get(f"/api/media/{waiting}/image")

    assert (early.status, await early.read()) == (200, SMALL)
    assert late.status == 503


async def test_the_fleet_shows_how_the_store_is_doing(make_site: MakeSite, store: HubStore) -> None:
    site = await make_site(store=store)
    ada = await site.user("ada@example.org")

    before = (await (await ada.get("/api/dashboard/ai-workers")).json())["store"]
    await state.load(site.db, store.name, late_s=1)
    await state.report(site.db, store.name, "refused", "401 Unauthorized", pause_s=300)
    after = (await (await ada.get("/api/dashboard/ai-workers")).json())["store"]

    assert before == {"state": "ready", "detail": None, "resumes_at": None}
    assert (after["state"], after["detail"]) == ("refused", "401 Unauthorized")
    assert datetime.fromisoformat(after["resumes_at"]) > datetime.now(UTC)
