"""What the owner of a photo says is on it: boxes added, changed, removed, over what the detector found.

From its first correction on a photo is its owner's: a later analysis leaves its detections,
`has_trash` and `confidence` alone. Correction and analysis both lock the photo's row, so that
whichever of two comes second sees what the first one did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hyperion.db import Connection, load_queries
from hyperion.errors import DetectionGone, PhotoGone
from hyperion.media import photos
from hyperion.media.detector import TRASH_LABELS, Box
from hyperion.media.status import Status
from hyperion.media.transaction import PhotoTransaction

SQL = load_queries(__package__, "corrections.sql")

ACTION = "CORRECTION"


@dataclass(frozen=True)
class Addition:
    """Something that the detector missed."""

    label: str
    box: Box


@dataclass(frozen=True)
class Change:
    """A detection that is something else, or elsewhere; None leaves that as it is."""

    id: int
    label: str | None = None
    box: Box | None = None


@dataclass(frozen=True)
class KnownDetection:
    """A detection of a photo, with its id. `confidence` 0..1; `is_manual`: its owner says so."""

    id: int
    label: str
    confidence: float
    box: Box
    area_sqm: float | None
    is_manual: bool


@dataclass(frozen=True)
class Verdict:
    """What all detections of a photo say together; `confidence` 0..100, None for a clean photo."""

    has_trash: bool
    confidence: float | None


async def correct(
    tx: PhotoTransaction,
    user_id: str,
    media_id: UUID,
    *,
    add: Sequence[Addition] = (),
    change: Sequence[Change] = (),
    remove: Sequence[int] = (),
) -> Verdict:
    """Correct a photo, with one row of history; what is removed already stays so.

    Raises PhotoGone for one that is not the user's, DetectionGone for a change of what is not on it.
    """
    status = await tx.connection.fetchval(SQL.lock_own, user_id, media_id)
    if status is None:
        raise PhotoGone(media_id)
    removed = len(await tx.connection.fetch(SQL.remove, media_id, list(remove)))
    for item in change:
        place = (item.box.x, item.box.y, item.box.w, item.box.h) if item.box else (None,) * 4
        if await tx.connection.fetchval(SQL.change, media_id, item.id, item.label, *place) is None:
            raise DetectionGone(media_id, item.id)
    added = 0
    for new in add:
        box = new.box
        added += await tx.connection.fetchval(SQL.add, media_id, new.label, box.x, box.y, box.w, box.h) is not None
    row = await tx.connection.fetchrow(SQL.sum_up, media_id, TRASH_LABELS)
    assert row is not None
    message = f"Detections corrected: {added} added, {len(change)} changed, {removed} removed"
    await photos.write_history(tx, media_id, user_id, Status(status), action=ACTION, message=message)
    return Verdict(row["has_trash"], row["confidence"])


async def detections(connection: Connection, media_id: UUID) -> list[KnownDetection]:
    """List what is known to be on a photo, the oldest first."""
    return [
        KnownDetection(
            row["id"],
            row["label"],
            row["confidence"],
            Box(row["x"], row["y"], row["w"], row["h"]),
            row["area_sqm"],
            row["is_manual"],
        )
        for row in await connection.fetch(SQL.list_detections, media_id)
    ]
