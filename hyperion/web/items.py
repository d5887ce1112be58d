"""A photo as the vault shows it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from hyperion.db import Database, Record, load_queries
from hyperion.media.status import Status
from hyperion.media.store import Store
from hyperion.web import links
from hyperion.web.kinds import Instant, Latitude, Longitude, Percent

SQL = load_queries(__package__, "vault.sql")


class FileFacts(msgspec.Struct, frozen=True):
    """What is known of the file: its name, size in bytes, width and height in pixels."""

    filename: str
    size: int
    width: int
    height: int


class MediaItem(msgspec.Struct, frozen=True):
    """One photo."""

    id: UUID
    filename: str
    status: Status
    timestamp: Instant
    updated_at: Instant
    image_url: str | None
    thumbnail_url: str | None
    metadata: FileFacts
    technical_metadata: dict[str, Any]
    assigned_worker: str | None
    lat: Latitude | None
    lng: Longitude | None
    altitude: float | None
    address: str | None
    has_trash: bool | None
    confidence: Percent | None
    failed_reason: str | None


async def media_items(db: Database, store: Store, media_ids: Sequence[UUID]) -> list[MediaItem]:
    """Return the photos with these ids, in this order; those that are gone meanwhile are left out."""
    rows = await db.fetch(SQL.media_items, media_ids)
    return [_item(row, store) for row in rows]


def _item(row: Record, store: Store) -> MediaItem:
    return MediaItem(
        id=row["id"],
        filename=row["filename"],
        status=Status(row["status"]),
        timestamp=row["created_at"],
        updated_at=row["updated_at"],
        image_url=links.image_url(store, row["id"], row["store_path"], is_stored=row["is_stored"]),
        thumbnail_url=links.thumbnail_url(row["id"], has_thumbnail=row["has_thumbnail"]),
        metadata=FileFacts(row["filename"], row["size_bytes"], row["width"], row["height"]),
        technical_metadata=msgspec.json.decode(row["technical_metadata"]),
        assigned_worker=row["assigned_worker"],
        lat=row["lat"],
        lng=row["lng"],
        altitude=row["altitude"],
        address=row["address"],
        has_trash=row["has_trash"],
        confidence=row["confidence"],
        failed_reason=row["failed_reason"],
    )
