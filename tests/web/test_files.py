"""The bytes of photos and thumbnails."""

import pytest

from hyperion.media.store import Item
from tests.photos import make_photo
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


async def test_a_photo_is_served_as_its_own_type_where_nothing_in_it_can_run(site: Site, ada: Person) -> None:
    """SECURITY 20."""
    polyglot = make_photo(size=(16, 16), fmt="PNG") + b"<script>alert(1)</script>"

    answer = await ada.get(await store(site, ada, polyglot))

    assert answer.content_type == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    assert answer.headers["Cache-Control"].startswith("private, max-age=")
    assert answer.headers["Content-Disposition"] == (
        "inline; filename=\"_n_ _x_.jpg\"; filename*=UTF-8''%C3%9Cn%C3%AF%20%22x%22.jpg"
    )


@pytest.mark.parametrize(
    "content",
    [b"<html><body>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"PK\x03\x04zip", SMALL[: len(SMALL) // 2]],
)
async def test_what_is_no_whole_photo_is_rejected_whatever_its_name(ada: Person, content: bytes) -> None:
    """SECURITY 20."""
    assert (await ada.upload(("x.jpg", content))).status == 422


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
