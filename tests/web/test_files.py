"""The bytes of photos and thumbnails."""

from hyperion.media.store import Item
from tests.web.conftest import SMALL, Person, Site


async def store(site: Site, person: Person, content: bytes) -> str:
    """Upload a photo and do what the archiver does; return the path of its image."""
    media_id = await person.photo('Ünï "x".jpg', content)
    path = await site.db.fetch_value("SELECT store_path FROM media WHERE id = $1", media_id)
    source = site.settings.var_dir / "source"
    source.write_bytes(content)
    await site.store.put_many([Item(path, source)])
    await site.db.execute("UPDATE media SET stored_at = now() WHERE id = $1", media_id)
    await site.db.execute("DELETE FROM media_blob WHERE media_id = $1", media_id)
    return f"/api/media/{media_id}/image"


async def test_a_photo_can_be_fetched_before_and_after_it_is_stored(site: Site, ada: Person) -> None:
    pending = f"/api/media/{await ada.photo()}/image"
    stored = await store(site, ada, SMALL)

    for path in (pending, stored):
        answer = await ada.get(path)

        assert answer.status == 200
        assert await answer.read() == SMALL
        assert answer.content_type == "image/jpeg"
        assert answer.headers["Content-Length"] == str(len(SMALL))
    assert not list((site.settings.var_dir / "spool").iterdir())


async def test_a_client_that_has_the_photo_is_told_so(site: Site, ada: Person) -> None:
    path = await store(site, ada, SMALL)
    etag = (await ada.get(path)).headers["ETag"]

    again = await ada.get(path, headers={"If-None-Match": f'"other", {etag}'})
    other = await ada.get(path, headers={"If-None-Match": '"other"'})

    assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
    assert other.status == 200


async def test_the_head_of_a_photo_comes_without_its_body(site: Site, ada: Person) -> None:
    answer = await site.client.head(f"/api/media/{await ada.photo()}/image", headers=ada.headers)

    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(SMALL)))
    assert await answer.read() == b""


async def test_a_thumbnail_is_there_once_it_was_made(site: Site, ada: Person) -> None:
    media_id = await ada.photo()
    path = f"/api/media/{media_id}/thumbnail"
    missing = await ada.get(path)
    await site.db.execute("INSERT INTO media_thumbnail (media_id, content) VALUES ($1, $2)", media_id, SMALL)

    there = await ada.get(path)
    again = await ada.get(path, headers={"If-None-Match": there.headers["ETag"]})

    assert (missing.status, there.status, again.status) == (404, 200, 304)
    assert (there.content_type, await there.read()) == ("image/jpeg", SMALL)
    assert (await (await ada.get("/api/vault")).json())["items"][0]["thumbnail_url"] == path


async def test_a_stored_photo_that_the_store_does_not_give_is_503(site: Site, ada: Person) -> None:
    path = await store(site, ada, SMALL)
    await site.store.delete_many([await site.db.fetch_value("SELECT store_path FROM media")])

    assert (await ada.get(path)).status == 503
