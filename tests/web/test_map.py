"""The map: places, cells and history."""

import sys
from typing import Any
from uuid import UUID

from hyperion.media import photos
from hyperion.media.status import Status
from hyperion.media.transaction import photo_transaction
from hyperion.web.stats_cache import LARGEST_BYTES, ROOM_BYTES, make_stats_cache
from tests.web.conftest import Person, Site

BOX = {"min_lat": 0, "max_lat": 10, "min_lng": 0, "max_lng": 10}


async def place(
    person: Person,
    lat: float,
    lng: float,
    *,
    trash: bool = True,
    confidence: float = 80.0,
    labels: tuple[str, ...] = (),
) -> UUID:
    """Upload a photo and pretend that it was analysed."""
    media_id = await person.photo()
    db = person.site.db
    await db.execute(
        "UPDATE media SET lat = $2, lng = $3, has_trash = $4, confidence = $5 WHERE id = $1",
        media_id, lat, lng, trash, confidence,
    )  # fmt: skip
    for label in labels:
        await db.execute(
            "INSERT INTO detection (media_id, label, confidence, x, y, w, h) VALUES ($1, $2, 0.5, 0.1, 0.2, 0.3, 0.4)",
            media_id, label,
        )  # fmt: skip
    return media_id


async def shown(person: Person, path: str, **query: Any) -> dict[str, Any]:
    answer = await person.get(path, params={name: str(value) for name, value in query.items()})
    assert answer.status == 200, await answer.text()
    body: dict[str, Any] = await answer.json()
    return body


async def test_photos_with_a_place_are_on_the_map_with_what_was_found(ada: Person, bob: Person) -> None:
    media_id = await place(ada, 59.3, 18.1, labels=("bottle",))
    await ada.photo("nowhere.jpg")
    await place(bob, 59.3, 18.1)

    body = await shown(ada, "/api/map")

    assert body["total"] == 1
    [item] = body["items"]
    assert (item["id"], item["lat"], item["lng"]) == (str(media_id), 59.3, 18.1)
    [found] = item["detections"]
    assert found.pop("id") > 0
    assert found == {
        "label": "bottle",
        "confidence": 0.5,
        "bbox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4},
        "area_sqm": None,
        "is_manual": False,
    }
    assert item.keys() == {
        "id", "filename", "status", "worker_name", "lat", "lng", "altitude", "address", "image_url", "thumbnail_url",
        "has_trash", "confidence", "detections",
    }  # fmt: skip


async def test_the_map_is_filtered_by_box_litter_and_confidence(ada: Person) -> None:
    inside = str(await place(ada, 5, 5, confidence=90))
    clean = str(await place(ada, 6, 6, trash=False, confidence=20))
    outside = str(await place(ada, 50, 5, confidence=90))

    found = [
        {item["id"] for item in (await shown(ada, "/api/map", **query))["items"]}
        for query in (BOX, {"has_trash": "true"}, {"has_trash": "false"}, {"min_confidence": 50})
    ]

    assert found == [{inside, clean}, {inside, outside}, {clean}, {inside, outside}]


NONSENSE: list[tuple[str, dict[str, Any], int]] = [
    ("/api/map", {"min_lat": "1"}, 422),
    ("/api/map", {"min_confidence": "101"}, 422),
    ("/api/map", {"min_confidence": "nan"}, 422),
    ("/api/map", {"has_trash": "maybe"}, 422),
    ("/api/map", {"has_trash": "null"}, 422),
    ("/api/map", BOX | {"min_lat": 20}, 400),
    ("/api/map/stats", {}, 422),
    ("/api/map/stats", BOX | {"resolution": 0}, 422),
    ("/api/map/stats", BOX | {"resolution": 1.5}, 422),
    ("/api/map/stats", BOX | {"resolution": "1e-400"}, 422),
    ("/api/map/stats", BOX | {"max_lat": "inf"}, 422),
    ("/api/map/stats", BOX | {"max_lat": 91}, 422),
    ("/api/map/stats", BOX | {"min_lng": 11}, 400),
]


async def test_a_question_that_makes_no_sense_is_refused(ada: Person) -> None:
    for path, query, status in NONSENSE:
        answer = await ada.get(path, params={name: str(value) for name, value in query.items()})

        assert answer.status == status, (path, query)
        if status == 400:
            assert (await answer.json())["detail"] == "Invalid bounding box: min values must be <= max values."


async def test_photos_with_litter_are_counted_by_cell(ada: Person) -> None:
    await place(ada, 0.3, 0.35, confidence=70, labels=("can", "bottle"))
    await place(ada, 0.39, 0.3, confidence=81, labels=("can", "bottle", "bag"))
    await place(ada, 0.29, 0.3, confidence=50)
    await place(ada, 0.3, 0.3, trash=False)

    body = await shown(ada, "/api/map/stats", **BOX, resolution=0.1)

    assert body["total"] == 2
    assert body["items"] == [
        {"lat": 0.2, "lng": 0.3, "density": 100.0, "count": 1, "confidence": 50.0, "label": None},
        {"lat": 0.3, "lng": 0.3, "density": 200.0, "count": 2, "confidence": 75.5, "label": "bottle"},
    ]


async def test_cells_south_and_west_of_zero_have_their_south_west_corner(ada: Person) -> None:
    await place(ada, -0.001, -0.001)

    body = await shown(ada, "/api/map/stats", min_lat=-1, max_lat=1, min_lng=-1, max_lng=1)

    assert [(cell["lat"], cell["lng"]) for cell in body["items"]] == [(-0.005, -0.005)]


async def test_cells_may_be_as_small_as_numbers_get(ada: Person) -> None:
    await place(ada, 1.5, -2.25)

    for resolution, density in (("1e-7", 1e14), ("1e-300", sys.float_info.max), ("5e-324", sys.float_info.max)):
        body = await shown(ada, "/api/map/stats", min_lat=1, max_lat=2, min_lng=-3, max_lng=-2, resolution=resolution)

        [cell] = body["items"]
        assert (cell["lat"], cell["lng"], cell["density"]) == (1.5, -2.25, density)


def test_the_statistics_that_are_kept_are_bounded_by_their_size() -> None:
    cache = make_stats_cache()

    for number in range(10):
        cache[number] = bytes(LARGEST_BYTES)

    assert 0 < cache.currsize <= ROOM_BYTES


async def test_the_same_question_within_a_minute_gets_the_same_answer(ada: Person, bob: Person) -> None:
    first = await shown(ada, "/api/map/stats", **BOX)
    await place(ada, 1, 1)
    await place(bob, 1, 1)

    assert await shown(ada, "/api/map/stats", **BOX) == first
    assert (await shown(ada, "/api/map/stats", **BOX, resolution=0.01))["total"] == 1
    assert (await shown(bob, "/api/map/stats", **BOX))["total"] == 1


async def test_the_history_of_a_photo_begins_with_its_upload(site: Site, ada: Person) -> None:
    media_id = await ada.photo()
    async with photo_transaction(site.db, site.wakeup) as tx:
        await photos.store_done(tx, [media_id])
        await photos.advance(tx, media_id, Status.EXTRACTING, worker="Helios")

    body = await shown(ada, f"/api/map/{media_id}/logs")

    assert (body["media_id"], body["total"]) == (str(media_id), 3)
    assert [(entry["message"], entry["worker_name"]) for entry in body["history"]] == [
        ("Status changed to PENDING", None),
        ("Status changed to UPLOADED", None),
        ("Status changed to EXTRACTING", "Helios"),
    ]


async def test_the_history_of_an_unknown_photo_is_404(ada: Person) -> None:
    answer = await ada.get("/api/map/unknown/logs")

    assert (answer.status, (await answer.json())["detail"]) == (404, "Media not found")
