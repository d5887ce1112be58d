"""What an analysis finds out about a photo, written down: facts, small picture, litter."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from hyperion.db import load_queries
from hyperion.media import photos
from hyperion.media.detector import Detection, Finding
from hyperion.media.exif import Facts
from hyperion.media.status import Status
from hyperion.media.transaction import PhotoTransaction

SQL = load_queries(__package__, "findings.sql")


async def keep_facts(
    tx: PhotoTransaction, media_id: UUID, facts: Facts, *, address: str | None, thumbnail: bytes, worker: str
) -> None:
    """Take a photo to PROCESSING, with what its file says of itself, what its place is called, and the small picture.

    Raises as `photos.advance` does, and like that writes nothing where it was done already.
    """
    user_id = await tx.connection.fetchval(
        SQL.keep_facts,
        media_id,
        worker,
        photos.history_message(Status.PROCESSING),
        facts.lat,
        facts.lng,
        facts.altitude,
        address,
        _json(_technical(facts)),
        thumbnail,
    )
    if user_id is None:
        await photos.known_at(tx, media_id, Status.PROCESSING)
        return
    tx.has_changed(user_id)


async def keep_finding(tx: PhotoTransaction, media_id: UUID, finding: Finding, *, worker: str) -> None:
    """Take a photo to READY, with what the detector found, in place of what an earlier analysis did.

    What its owner has corrected stays as it is. The change of status holds the photo's row until the commit, so
    no correction comes between it and the detections. Raises as `keep_facts` does.
    """
    model = {"model": finding.model, "model_version": finding.version, "detection_ms": round(finding.took_ms, 1)}
    row = await tx.connection.fetchrow(
        SQL.keep_finding,
        media_id,
        worker,
        photos.history_message(Status.READY),
        finding.has_trash,
        finding.confidence,
        _json(model),
    )
    if row is None:
        await photos.known_at(tx, media_id, Status.READY)
        return
    tx.has_changed(row["user_id"])
    if row["has_detections"] and not row["is_corrected"]:
        await tx.connection.execute(SQL.forget_detections, media_id)
    if finding.detections and not row["is_corrected"]:
        await _insert(tx, media_id, finding.detections)


async def _insert(tx: PhotoTransaction, media_id: UUID, found: Sequence[Detection]) -> None:
    await tx.connection.execute(
        SQL.insert_detections,
        media_id,
        [d.label for d in found],
        [d.confidence for d in found],
        [d.box.x for d in found],
        [d.box.y for d in found],
        [d.box.w for d in found],
        [d.box.h for d in found],
        [d.area_sqm for d in found],
    )


def _technical(facts: Facts) -> dict[str, Any]:
    taken_at = facts.taken_at.isoformat() if facts.taken_at else None
    return {
        "taken_at": taken_at,
        "camera": facts.camera,
        "orientation": facts.orientation,
        "notes": list(facts.notes),
    }


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
