"""What is on a photo, and its owner's corrections of that."""

from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Meta

from hyperion.db import load_queries
from hyperion.media import corrections
from hyperion.media.corrections import Addition, Change, KnownDetection
from hyperion.media.detector import Box
from hyperion.media.transaction import photo_transaction
from hyperion.web.keys import DB, WAKEUP
from hyperion.web.problems import invalid, media_not_found
from hyperion.web.reading import media_id
from hyperion.web.sessions import Session

SQL = load_queries(__package__, "detections.sql")

MOST_CORRECTIONS = 100
MOST_ON_A_PHOTO = 500

Share = Annotated[float, Meta(ge=0, le=1)]
Length = Annotated[float, Meta(gt=0, le=1)]
Label = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_ -]{0,39}$")]
DetectionId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_MARGIN = 1e-6


class BoundingBox(msgspec.Struct, frozen=True):
    """A rectangle by its upper left corner and its size, in fractions 0..1 of the image."""

    x: Share
    y: Share
    w: Length
    h: Length


class FoundThing(msgspec.Struct, frozen=True, kw_only=True):
    """One detection. `confidence` is 0..1, and 1 where `is_manual`: the photo's owner says so."""

    id: int
    label: str
    confidence: float
    bbox: BoundingBox
    area_sqm: float | None
    is_manual: bool


class NewThing(msgspec.Struct, frozen=True):
    """Something to add."""

    label: Label
    bbox: BoundingBox


class ChangedThing(msgspec.Struct, frozen=True):
    """A detection to change; what is left out stays."""

    id: DetectionId
    label: Label | None = None
    bbox: BoundingBox | None = None


class Corrections(msgspec.Struct, frozen=True):
    """What to add, what to change, and the ids of what to remove."""

    add: Annotated[list[NewThing], Meta(max_length=MOST_CORRECTIONS)] = []
    change: Annotated[list[ChangedThing], Meta(max_length=MOST_CORRECTIONS)] = []
    remove: Annotated[list[DetectionId], Meta(max_length=MOST_CORRECTIONS)] = []


class DetectionsAnswer(msgspec.Struct, frozen=True):
    """What is on a photo. `confidence` is 0..100; `is_corrected`: no analysis will change it any more."""

    media_id: UUID
    has_trash: bool | None
    confidence: float | None
    is_corrected: bool
    detections: list[FoundThing]


async def show_detections(request: web.Request, session: Session) -> DetectionsAnswer:
    """Show what is on one photo, with the ids that corrections name."""
    wanted = media_id(request)
    async with request.app[DB].transaction(isolation="repeatable_read", readonly=True) as connection:
        row = await connection.fetchrow(SQL.verdict, session.user.id, wanted)
        if row is None:
            raise media_not_found()
        found = await corrections.detections(connection, wanted)
    return DetectionsAnswer(
        wanted, row["has_trash"], row["confidence"], row["is_corrected"], [_shown(item) for item in found]
    )


async def correct_detections(request: web.Request, session: Session, body: Corrections) -> DetectionsAnswer:
    """Correct what is on one photo, all or nothing."""
    _check(body)
    wanted = media_id(request)
    async with photo_transaction(request.app[DB], request.app[WAKEUP]) as tx:
        verdict = await corrections.correct(
            tx,
            session.user.id,
            wanted,
            add=[Addition(item.label, _box(item.bbox)) for item in body.add],
            change=[Change(item.id, item.label, _box(item.bbox) if item.bbox else None) for item in body.change],
            remove=body.remove,
        )
        found = await corrections.detections(tx.connection, wanted)
        if len(found) > MOST_ON_A_PHOTO:
            raise invalid("/add", f"A photo has at most {MOST_ON_A_PHOTO} detections.")
    return DetectionsAnswer(wanted, verdict.has_trash, verdict.confidence, True, [_shown(item) for item in found])


def _check(body: Corrections) -> None:
    if not (body.add or body.change or body.remove):
        raise invalid("", "Name something to add, to change or to remove.")
    ids = [item.id for item in body.change] + body.remove
    if len(set(ids)) < len(ids):
        raise invalid("", "Each detection may be named once.")
    boxes = [(f"/add/{number}/bbox", item.bbox) for number, item in enumerate(body.add)]
    boxes += [(f"/change/{number}/bbox", item.bbox) for number, item in enumerate(body.change) if item.bbox]
    for pointer, box in boxes:
        if box.x + box.w > 1 + _MARGIN or box.y + box.h > 1 + _MARGIN:
            raise invalid(pointer, "The box reaches beyond the photo.")


def _box(box: BoundingBox) -> Box:
    return Box(box.x, box.y, box.w, box.h)


def _shown(found: KnownDetection) -> FoundThing:
    return FoundThing(
        id=found.id,
        label=found.label,
        confidence=found.confidence,
        bbox=BoundingBox(found.box.x, found.box.y, found.box.w, found.box.h),
        area_sqm=found.area_sqm,
        is_manual=found.is_manual,
    )
