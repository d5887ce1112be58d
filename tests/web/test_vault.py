"""The vault: listing, searching, sorting, deleting."""

from typing import Any

from hyperion.media.transaction import ARCHIVE_LANE
from hyperion.queue import count_ready
from tests.web.conftest import SMALL, Person, Site


async def listed(person: Person, **query: Any) -> dict[str, Any]:
    answer = await person.get("/api/vault", params=query)
    assert answer.status == 200, await answer.text()
    body: dict[str, Any] = await answer.json()
    return body


async def test_an_empty_vault_is_an_empty_page(ada: Person) -> None:
    assert await listed(ada) == {"total": 0, "page": 1, "page_size": 20, "total_pages": 0, "items": []}


async def test_a_photo_shows_all_that_is_known_of_it(site: Site, ada: Person) -> None:
    media_id = await ada.photo("beach.jpg")

    [item] = (await listed(ada))["items"]

    assert item["id"] == str(media_id)
    assert item["status"] == "PENDING"
    assert item["metadata"] == {"filename": "beach.jpg", "size": len(SMALL), "width": 64, "height": 48}
    assert item["image_url"] is None
    assert item["timestamp"].endswith(("Z", "+00:00"))
    assert item.keys() == {
        "id", "filename", "status", "timestamp", "updated_at", "image_url", "thumbnail_url", "metadata",
        "technical_metadata", "assigned_worker", "lat", "lng", "altitude", "address", "has_trash", "confidence",
        "failed_reason",
    }  # fmt: skip


async def test_a_stored_photo_has_an_address_that_works(site: Site, ada: Person) -> None:
    media_id = await ada.photo()
    await site.db.execute("UPDATE media SET stored_at = now() WHERE id = $1", media_id)

    [item] = (await listed(ada))["items"]

    assert item["image_url"] == f"/api/media/{media_id}/image"
    assert (await ada.get(item["image_url"])).status == 200


async def test_pages_cover_everything_once_even_where_the_order_ties(ada: Person) -> None:
    ids = {str(await ada.photo("same.jpg")) for _ in range(5)}

    pages = [await listed(ada, order_by="filename", page=n, page_size=2) for n in (1, 2, 3, 4)]

    seen = [item["id"] for page in pages for item in page["items"]]
    assert (len(seen), set(seen)) == (5, ids)
    assert [page["total_pages"] for page in pages] == [3] * 4


ORDERS: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["c.jpg", "a.jpg", "b.jpg"]),
    ({"direction": "asc"}, ["b.jpg", "a.jpg", "c.jpg"]),
    ({"order_by": "filename", "direction": "asc"}, ["a.jpg", "b.jpg", "c.jpg"]),
    ({"order_by": "filename"}, ["c.jpg", "b.jpg", "a.jpg"]),
    ({"order_by": "status", "direction": "asc"}, ["a.jpg", "b.jpg", "c.jpg"]),
    ({"status": "FAILED"}, ["a.jpg"]),
    ({"search": "B."}, ["b.jpg"]),
    ({"search": "", "status": ""}, ["c.jpg", "a.jpg", "b.jpg"]),
]


async def test_the_vault_is_ordered_and_filtered_as_asked(site: Site, ada: Person) -> None:
    for name in ("b.jpg", "a.jpg", "c.jpg"):
        await ada.photo(name)
    await site.db.execute("UPDATE media SET status = 'FAILED', failed_reason = 'x' WHERE filename = 'a.jpg'")

    for query, names in ORDERS:
        assert [item["filename"] for item in (await listed(ada, **query))["items"]] == names, query


async def test_a_deleted_photo_is_gone_with_its_history_and_its_file_follows(site: Site, ada: Person) -> None:
    media_id = await ada.photo()
    waiting = await count_ready(site.db, lane=ARCHIVE_LANE)

    answer = await ada.delete(f"/api/vault/{media_id}")

    assert (answer.status, await answer.json()) == (200, {"detail": "Media deleted successfully"})
    assert (await listed(ada))["total"] == 0
    assert await site.db.fetch_value("SELECT count(*) FROM media_log") == 0
    assert await count_ready(site.db, lane=ARCHIVE_LANE) == waiting + 1


async def test_deleting_what_is_not_there_is_404(ada: Person) -> None:
    for unknown in ("01890000-0000-7000-8000-000000000000", "no-id", "%00", "1" * 100):
        answer = await ada.delete(f"/api/vault/{unknown}")

        assert answer.status == 404, unknown
        assert (await answer.json())["detail"] == "Media not found or you don't have permission to delete it"
