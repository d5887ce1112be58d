"""Answers that are kept: nobody ever sees an old one, nor another's."""

import asyncio
from urllib.parse import urlsplit

import psycopg
import pytest

from hyperion.db.embedded import EmbeddedPostgres
from hyperion.media import photos
from hyperion.media.status import Status
from hyperion.media.transaction import photo_transaction
from hyperion.web import vault
from hyperion.web.answers import LARGEST_BYTES, ROOM_BYTES, Answers
from tests.web.conftest import MakeSite, Person, Site

PAGES = ("/api/vault", "/api/upload/recents", "/api/map")


async def bodies(person: Person) -> list[bytes]:
    return [await (await person.get(page)).read() for page in PAGES]


async def test_an_answer_is_made_once_while_nothing_changes(
    site: Site, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.photo()
    before = await bodies(ada)
    monkeypatch.delattr(vault, "_find_page")  # who needed it would fail

    assert await bodies(ada) == before
    assert (await ada.get("/api/vault?page=2")).status == 500


async def test_every_change_of_a_photo_is_in_the_next_answer(site: Site, make_site: MakeSite, ada: Person) -> None:
    other = Person(await make_site(), ada.id, ada.token)
    media_id = await ada.photo()
    seen = [await bodies(ada)]

    async def look() -> None:
        seen.append(await bodies(ada))
        assert seen[-1][0] != seen[-2][0]
        assert await bodies(other) == seen[-1]

    async with photo_transaction(site.db, site.wakeup) as tx:
        await photos.store_done(tx, [media_id])
    await look()
    async with photo_transaction(site.db, site.wakeup) as tx:
        await photos.advance(tx, media_id, Status.EXTRACTING, worker="Helios")
    await look()
    await site.db.execute("UPDATE media SET lat = 1, lng = 2")
    await look()
    await ada.photo()
    await look()
    await ada.delete(f"/api/vault/{media_id}")
    await look()
    await ada.delete("/api/vault/all")
    await look()


async def test_an_answer_made_while_a_change_is_not_committed_is_not_kept_beyond_it(site: Site, ada: Person) -> None:
    await ada.photo()
    async with site.db.transaction() as connection:
        await connection.execute("UPDATE media SET address = 'here'")
        before = await (await ada.get("/api/vault")).text()

    assert "here" not in before
    assert "here" in await (await ada.get("/api/vault")).text()


async def test_what_is_kept_of_one_is_not_shown_to_another(ada: Person, bob: Person) -> None:
    await ada.photo()
    await bob.photo()

    assert not set((await bodies(ada))[:2]) & set((await bodies(bob))[:2])


async def test_who_has_signed_out_is_shown_nothing_that_was_kept(ada: Person) -> None:
    await ada.photo()
    await bodies(ada)
    await ada.post("/api/auth/logout")

    assert {(await ada.get(page)).status for page in PAGES} == {401}


async def test_while_the_database_is_away_nothing_is_shown_that_was_kept(
    ada: Person, database_url: str, postgres: EmbeddedPostgres
) -> None:
    await ada.photo()
    await bodies(ada)
    name = urlsplit(database_url).path.lstrip("/")

    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        connection.execute(f"ALTER DATABASE {name} RENAME TO gone".encode())
    answers = {(await ada.get(page)).status for page in PAGES}
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE gone RENAME TO {name}".encode())

    assert answers == {503}


def test_what_is_kept_is_bounded() -> None:
    answers = Answers()
    half = bytes(LARGEST_BYTES // 2)

    for number in range(100):
        answers.keep(number, 1, half)
    answers.keep("large", 1, bytes(LARGEST_BYTES + 1))

    kept = [number for number in range(100) if answers.find(number, 1)]
    assert len(kept) * len(half) < ROOM_BYTES
    assert kept == list(range(100 - len(kept), 100))
    assert answers.find("large", 1) is None
    assert answers.find(99, 2) is None


async def test_many_who_ask_while_photos_change_never_see_time_run_backwards(site: Site, ada: Person) -> None:
    async def total() -> int:
        return int((await (await ada.get("/api/vault")).json())["total"])

    async def ask() -> list[int]:
        return [await total() for _ in range(15)]

    *asked, _ = await asyncio.gather(*(ask() for _ in range(4)), *(ada.photo() for _ in range(10)))

    assert all(isinstance(seen, list) and seen == sorted(seen) for seen in asked[:4])
    assert await total() == 10
