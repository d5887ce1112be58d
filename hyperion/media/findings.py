"""What an analysis finds out about a photo, written down: facts, small picture, litter."""

from typing import Any
from uuid import UUID

import msgspec

from hyperion.db import load_queries
from hyperion.media.detector import Finding
from hyperion.media.exif import Facts
from hyperion.media.transaction import PhotoTransaction

SQL = load_queries(__package__, "findings.sql")


async def write_facts(
    tx: PhotoTransaction, media_id: UUID, facts: Facts, *, address: str | None, thumbnail: bytes
) -> None:
    """Keep what the file says of itself, what its place is called, and the small picture."""
    await tx.connection.execute(
        SQL.write_facts, media_id, facts.lat, facts.lng, facts.altitude, _json(_technical(facts)), address
    )
    await tx.connection.execute(SQL.write_thumbnail, media_id, thumbnail)


async def write_finding(tx: PhotoTransaction, media_id: UUID, finding: Finding) -> None:
    """Keep what the detector found, in place of what an earlier analysis did.

    A photo that its owner has corrected stays as it is. The caller has changed its status before, and
    so holds its row: no correction comes in between.
    """
    model = {"model": finding.model, "model_version": finding.version, "detection_ms": round(finding.took_ms, 1)}
    written = await tx.connection.fetchval(
        SQL.write_finding, media_id, finding.has_trash, finding.confidence, _json(model)
    )
    if written is None:
        return
    await tx.connection.execute(SQL.forget_detections, media_id)
    found = finding.detections
    if not found:
        return
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
