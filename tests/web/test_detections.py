"""Owners correct what the detector found; nobody else does, and nothing undoes it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from hyperion.errors import StatusConflict
from hyperion.media import corrections, findings, photos
from hyperion.media.corrections import Addition
from hyperion.media.detector import Box, Detection, Finding, summed_up
from hyperion.media.exif import Facts
from hyperion.media.status import Status
from hyperion.media.transaction import photo_transaction
from tests.until import until
from tests.web.conftest import Person, Site

BBOX = {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}
SEEN = summed_up(
    (Detection("garbage", 0.6, Box(0.1, 0.1, 0.2, 0.2)), Detection("garbage_bin", 0.9, Box(0.5, 0.5, 0.2, 0.2))),
    model="litter",
    version="1",
    took_ms=1.0,
)


NOTHING = summed_up((), model="litter", version="2", took_ms=1.0)


async def analyse(site: Site, media_id: UUID, found: Finding = SEEN) -> None:
    """Have the photo analysed, with that result."""
    async with photo_transaction(site.db, site.wakeup) as tx:
        if await photos.lock(tx, media_id) is Status.PENDING:
            await photos.store_done(tx, [media_id])
        else:
            await photos.reopen(tx, media_id, reason="again")
        for status in (Status.EXTRACTING, Status.PROCESSING):
            await photos.advance(tx, media_id, status)
        await findings.keep_finding(tx, media_id, found, worker="Helios")


@pytest.fixture
async def photo(ada: Person) -> UUID:
    """A photo of Ada's on which litter and a bin were found."""
    media_id = await ada.photo()
    await analyse(ada.site, media_id)
    return media_id


async def shown(person: Person, media_id: UUID) -> dict[str, Any]:
    answer = await person.get(f"/api/media/{media_id}/detections")
    assert answer.status == 200, await answer.text()
    body: dict[str, Any] = await answer.json()
    return body


async def correct(person: Person, media_id: UUID, **body: Any) -> dict[str, Any]:
    answer = await person.post(f"/api/media/{media_id}/detections", json=body)
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


async def test_what_was_found_is_shown_with_its_ids(ada: Person, photo: UUID) -> None:
    body = await shown(ada, photo)

    assert (body["has_trash"], body["confidence"], body["is_corrected"]) == (True, 60.0, False)
    assert [(item["label"], item["confidence"], item["is_manual"]) for item in body["detections"]] == [
        ("garbage", 0.6, False),
        ("garbage_bin", 0.9, False),
    ]


async def test_what_the_owner_adds_is_certain_and_kept_as_the_owners(ada: Person, photo: UUID) -> None:
    body = await correct(ada, photo, add=[{"label": "overflow", "bbox": BBOX}])

    added = body["detections"][-1]
    assert (added["label"], added["confidence"], added["bbox"], added["is_manual"]) == ("overflow", 1.0, BBOX, True)
    assert (body["has_trash"], body["confidence"], body["is_corrected"]) == (True, 100.0, True)
    assert body == await shown(ada, photo)


async def test_a_changed_detection_keeps_what_is_not_named(ada: Person, photo: UUID) -> None:
    first = (await shown(ada, photo))["detections"][0]

    body = await correct(ada, photo, change=[{"id": first["id"], "label": "garbage_bin"}])

    changed = body["detections"][0]
    assert changed == first | {"label": "garbage_bin", "confidence": 1.0, "is_manual": True}
    assert (body["has_trash"], body["confidence"]) == (False, None)


async def test_a_photo_without_litter_any_more_is_clean(ada: Person, photo: UUID) -> None:
    first = (await shown(ada, photo))["detections"][0]

    body = await correct(ada, photo, remove=[first["id"]])

    assert [item["label"] for item in body["detections"]] == ["garbage_bin"]
    assert (body["has_trash"], body["confidence"]) == (False, None)


async def test_a_correction_is_history_and_no_change_of_status(ada: Person, photo: UUID) -> None:
    ids = [item["id"] for item in (await shown(ada, photo))["detections"]]
    before = await ada.site.db.fetch_value("SELECT status FROM media WHERE id = $1", photo)

    added, changed = [{"label": "garbage", "bbox": BBOX}], [{"id": ids[0], "label": "overflow"}]
    await correct(ada, photo, add=added, change=changed, remove=ids[1:])

    last = (await (await ada.get(f"/api/map/{photo}/logs")).json())["history"][-1]
    assert (last["action"], last["message"]) == ("CORRECTION", "Detections corrected: 1 added, 1 changed, 1 removed")
    assert await ada.site.db.fetch_value("SELECT status FROM media WHERE id = $1", photo) == before == "READY"


async def test_a_request_whose_answer_was_lost_can_be_repeated(ada: Person, photo: UUID) -> None:
    ids = [item["id"] for item in (await shown(ada, photo))["detections"]]
    body = {
        "add": [{"label": "garbage", "bbox": BBOX}],
        "change": [{"id": ids[0], "label": "overflow"}],
        "remove": ids[1:],
    }

    first = await correct(ada, photo, **body)

    assert await correct(ada, photo, **body) == first


@pytest.mark.parametrize(("found", "labels"), [(SEEN, ["garbage", "garbage_bin"]), (NOTHING, [])])
async def test_a_later_analysis_replaces_what_an_earlier_one_found(
    ada: Person, photo: UUID, found: Finding, labels: list[str]
) -> None:
    before = {item["id"] for item in (await shown(ada, photo))["detections"]}

    await analyse(ada.site, photo, found)

    body = await shown(ada, photo)
    assert [item["label"] for item in body["detections"]] == labels
    assert not before & {item["id"] for item in body["detections"]}
    assert (body["has_trash"], body["confidence"]) == (found.has_trash, found.confidence)
    row = await ada.site.db.fetch_row("SELECT labels, technical_metadata::text AS told FROM media WHERE id = $1", photo)
    assert row is not None
    assert row["labels"] == labels
    assert f'"model_version": "{found.version}"' in row["told"]


@pytest.mark.parametrize("status", [Status.UPLOADED, Status.EXTRACTING])
async def test_a_finding_comes_after_the_facts_and_those_after_the_beginning(ada: Person, status: Status) -> None:
    media_id = await ada.photo()
    site = ada.site
    async with photo_transaction(site.db, site.wakeup) as tx:
        await photos.store_done(tx, [media_id])
        if status is Status.EXTRACTING:
            await photos.advance(tx, media_id, status)

    with pytest.raises(StatusConflict):
        async with photo_transaction(site.db, site.wakeup) as tx:
            if status is Status.UPLOADED:
                await findings.keep_facts(tx, media_id, Facts(), address=None, thumbnail=b"", worker="Helios")
            else:
                await findings.keep_finding(tx, media_id, SEEN, worker="Helios")

    assert (await shown(ada, media_id))["detections"] == []
    assert await site.db.fetch_value("SELECT status FROM media WHERE id = $1", media_id) == status


async def test_facts_and_findings_are_kept_once_however_often_their_commit_is_repeated(ada: Person) -> None:
    media_id = await ada.photo()
    site = ada.site
    facts = Facts(lat=52.5, lng=13.4)
    async with photo_transaction(site.db, site.wakeup) as tx:
        await photos.store_done(tx, [media_id])
        await photos.advance(tx, media_id, Status.EXTRACTING)

    for _ in range(2):
        async with photo_transaction(site.db, site.wakeup) as tx:
            await findings.keep_facts(tx, media_id, facts, address="Berlin, Germany", thumbnail=b"x", worker="Eos")
    for _ in range(2):
        async with photo_transaction(site.db, site.wakeup) as tx:
            await findings.keep_finding(tx, media_id, SEEN, worker="Eos")

    history = (await (await ada.get(f"/api/map/{media_id}/logs")).json())["history"]
    steps = [(entry["message"].rpartition(" ")[2], entry["worker_name"]) for entry in history]
    assert steps[2:] == [("EXTRACTING", None), ("PROCESSING", "Eos"), ("READY", "Eos")]
    assert len((await shown(ada, media_id))["detections"]) == 2
    row = await site.db.fetch_row("SELECT lat, lng, address, assigned_worker FROM media WHERE id = $1", media_id)
    assert row is not None
    assert tuple(row) == (52.5, 13.4, "Berlin, Germany", "Eos")


async def test_a_later_analysis_leaves_a_corrected_photo_alone(ada: Person, photo: UUID) -> None:
    corrected = await correct(ada, photo, add=[{"label": "overflow", "bbox": BBOX}])

    await analyse(ada.site, photo)

    assert await shown(ada, photo) == corrected


async def test_a_photo_can_be_corrected_before_it_was_analysed(ada: Person) -> None:
    media_id = await ada.photo()
    corrected = await correct(ada, media_id, add=[{"label": "garbage", "bbox": BBOX}])

    await analyse(ada.site, media_id)

    assert await shown(ada, media_id) == corrected


@pytest.mark.parametrize("is_correction_first", [True, False])
async def test_a_correction_outlasts_the_analysis_that_it_races_with(
    ada: Person, photo: UUID, is_correction_first: bool
) -> None:
    """Whichever takes the photo's row first, the other waits for its commit and then sees what it did."""
    site = ada.site
    async with photo_transaction(site.db, site.wakeup) as tx:
        await photos.reopen(tx, photo, reason="again")
        await photos.advance(tx, photo, Status.EXTRACTING)
        await photos.advance(tx, photo, Status.PROCESSING)

    async def analysis(held: asyncio.Event | None = None) -> None:
        async with photo_transaction(site.db, site.wakeup) as tx:
            await findings.keep_finding(tx, photo, SEEN, worker="Helios")
            if held:
                await held.wait()

    async def correction(held: asyncio.Event | None = None) -> None:
        async with photo_transaction(site.db, site.wakeup) as tx:
            added = [Addition("overflow", Box(0.1, 0.2, 0.3, 0.4))]
            await corrections.correct(tx, ada.id, photo, add=added)
            if held:
                await held.wait()

    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "

    async def somebody_waits() -> bool:
        return bool(await site.db.fetch_value(sessions + "wait_event_type = 'Lock'"))

    async def somebody_holds() -> bool:
        return bool(await site.db.fetch_value(sessions + "state = 'idle in transaction'"))

    first, second = (correction, analysis) if is_correction_first else (analysis, correction)
    go_on = asyncio.Event()
    holding = asyncio.create_task(first(go_on))
    await until(somebody_holds)
    waiting = asyncio.create_task(second())
    await until(somebody_waits)
    go_on.set()
    await asyncio.gather(holding, waiting)

    body = await shown(ada, photo)
    assert (body["confidence"], body["is_corrected"]) == (100.0, True)
    assert [item["label"] for item in body["detections"] if item["is_manual"]] == ["overflow"]


async def test_a_worker_from_before_corrections_leaves_a_corrected_photo_alone(ada: Person, photo: UUID) -> None:
    """It goes on on the newer schema while nodes are upgraded, and writes what it finds as it always did."""
    corrected = await correct(ada, photo, add=[{"label": "overflow", "bbox": BBOX}])
    untouched = await ada.photo()
    await analyse(ada.site, untouched)

    for media_id in (photo, untouched):
        async with ada.site.db.transaction() as connection:
            await connection.execute("UPDATE media SET status = 'READY' WHERE id = $1", media_id)
            await connection.execute("UPDATE media SET has_trash = false, confidence = NULL WHERE id = $1", media_id)
            await connection.execute("DELETE FROM detection WHERE media_id = $1", media_id)
            await connection.execute(
                "INSERT INTO detection (media_id, label, confidence, x, y, w, h) SELECT $1, 'bottle', 0.5, 0, 0, 1, 1",
                media_id,
            )

    assert await shown(ada, photo) == corrected
    labels = await ada.site.db.fetch_value("SELECT labels FROM media WHERE id = $1", photo)
    assert labels == ["garbage", "garbage_bin", "overflow"]
    assert [item["label"] for item in (await shown(ada, untouched))["detections"]] == ["bottle"]
    again = await correct(ada, photo, remove=[item["id"] for item in corrected["detections"]])
    assert (again["detections"], again["has_trash"]) == ([], False)
    assert (await ada.delete(f"/api/vault/{photo}")).status == 200
    assert await ada.site.db.fetch_value("SELECT count(*) FROM detection WHERE media_id = $1", photo) == 0


async def test_two_corrections_at_once_are_both_made(ada: Person, photo: UUID) -> None:
    ids = [item["id"] for item in (await shown(ada, photo))["detections"]]

    await asyncio.gather(
        correct(ada, photo, add=[{"label": "overflow", "bbox": BBOX}], remove=ids[:1]),
        correct(ada, photo, add=[{"label": "overflow", "bbox": BBOX}], change=[{"id": ids[1], "label": "garbage"}]),
        *(correct(ada, photo, add=[{"label": "garbage", "bbox": BBOX | {"x": n / 10}}]) for n in range(6)),
    )

    body = await shown(ada, photo)
    assert sorted(item["label"] for item in body["detections"]) == ["garbage"] * 7 + ["overflow"]
    assert (body["has_trash"], body["confidence"], body["is_corrected"]) == (True, 100.0, True)
    history = (await (await ada.get(f"/api/map/{photo}/logs")).json())["history"]
    assert sum(entry["action"] == "CORRECTION" for entry in history) == 8


async def test_corrections_are_all_done_or_none(ada: Person, photo: UUID) -> None:
    before = await shown(ada, photo)

    answer = await ada.post(
        f"/api/media/{photo}/detections",
        json={"add": [{"label": "garbage", "bbox": BBOX}], "change": [{"id": 2**62, "label": "overflow"}]},
    )

    assert (answer.status, (await answer.json())["code"]) == (409, "detection_gone")
    assert await shown(ada, photo) == before


async def test_a_detection_of_another_photo_is_neither_changed_nor_removed(ada: Person, photo: UUID) -> None:
    other = await ada.photo()
    ids = [item["id"] for item in (await shown(ada, photo))["detections"]]

    changed = await ada.post(f"/api/media/{other}/detections", json={"change": [{"id": ids[0], "label": "overflow"}]})
    await correct(ada, other, remove=ids)

    assert changed.status == 409
    assert [item["id"] for item in (await shown(ada, photo))["detections"]] == ids


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"add": []},
        {"add": [{"label": "garbage"}]},
        {"add": [{"label": "Garbage!", "bbox": BBOX}]},
        {"add": [{"label": "garbage", "bbox": BBOX | {"w": 0}}]},
        {"add": [{"label": "garbage", "bbox": BBOX | {"x": 0.9}}]},
        {"add": [{"label": "garbage", "bbox": BBOX | {"x": -0.1}}]},
        {"add": [{"label": "garbage", "bbox": BBOX}] * 101},
        {"remove": [2**63]},
        {"remove": [1, 1]},
        {"remove": ["1"]},
    ],
)
async def test_what_is_no_correction_is_refused(ada: Person, photo: UUID, body: dict[str, Any]) -> None:
    before = await shown(ada, photo)

    answer = await ada.post(f"/api/media/{photo}/detections", json=body)

    assert answer.status == 422
    assert await shown(ada, photo) == before


async def test_a_photo_does_not_collect_detections_without_bound(ada: Person, photo: UUID) -> None:
    for row in range(5):
        boxes = [{"x": n / 200, "y": row / 10, "w": 0.1, "h": 0.1} for n in range(100)]
        answer = await ada.post(
            f"/api/media/{photo}/detections", json={"add": [{"label": "garbage", "bbox": box} for box in boxes]}
        )

    assert answer.status == 422
    assert len((await shown(ada, photo))["detections"]) == 402


async def test_nobody_sees_or_corrects_another_ones_photo(ada: Person, bob: Person, photo: UUID) -> None:
    before = await shown(ada, photo)
    body = {"add": [{"label": "garbage", "bbox": BBOX}]}

    answers = [
        await bob.get(f"/api/media/{photo}/detections"),
        await bob.post(f"/api/media/{photo}/detections", json=body),
        await bob.post(f"/api/media/{uuid4()}/detections", json=body),
    ]

    assert {answer.status for answer in answers} == {404}
    assert {(await answer.json())["detail"] for answer in answers} == {"Media not found"}
    assert await shown(ada, photo) == before
