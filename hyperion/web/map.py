"""The map: photos with a place, cells of litter, and what happened to a photo."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Meta

from hyperion.db import Database, Record, load_queries
from hyperion.media.status import Status
from hyperion.media.store import Store
from hyperion.web import links
from hyperion.web.answers import kept_while_unchanged
from hyperion.web.detections import BoundingBox, FoundThing
from hyperion.web.keys import DB, STATS_CACHE, STORE
from hyperion.web.kinds import Instant, Latitude, Longitude, Percent
from hyperion.web.problems import Problem, invalid, media_not_found
from hyperion.web.reading import media_id
from hyperion.web.sessions import Session
from hyperion.web.stats_cache import LARGEST_BYTES

SQL = load_queries(__package__, "map.sql")

MOST_ITEMS = 10_000
COUNTED_DEGREES = Decimal("0.005")  # the size of the cells in which the database counts


class MapQuery(msgspec.Struct, frozen=True):
    """Which photos: within a box (all four bounds or none), with litter or without, how sure."""

    min_lat: Latitude | None = None
    max_lat: Latitude | None = None
    min_lng: Longitude | None = None
    max_lng: Longitude | None = None
    has_trash: bool | None = None
    min_confidence: Percent | None = None


class StatsQuery(msgspec.Struct, frozen=True):
    """A box, and the size of its cells in degrees."""

    min_lat: Latitude
    max_lat: Latitude
    min_lng: Longitude
    max_lng: Longitude
    resolution: Annotated[float, Meta(gt=0, le=1)] = 0.005


class MapItem(msgspec.Struct, frozen=True):
    """One photo on the map. `confidence` is 0..100."""

    id: UUID
    filename: str
    status: Status
    worker_name: str | None
    lat: Latitude
    lng: Longitude
    altitude: float | None
    address: str | None
    image_url: str | None
    thumbnail_url: str | None
    has_trash: bool | None
    confidence: Percent | None
    detections: list[FoundThing]


class MapAnswer(msgspec.Struct, frozen=True):
    """The photos on the map, the newest 10,000 at most; `total` counts all."""

    total: int
    items: list[MapItem]


class Cell(msgspec.Struct, frozen=True):
    """One cell by its south-west corner. `density` is photos a square degree, or the greatest number there is."""

    lat: float
    lng: float
    density: float
    count: int
    confidence: Percent | None
    label: str | None


class StatsAnswer(msgspec.Struct, frozen=True):
    """The cells that have litter in them."""

    total: int
    items: list[Cell]


class HistoryEntry(msgspec.Struct, frozen=True):
    """One thing that happened to a photo."""

    action: str
    message: str
    worker_name: str | None
    timestamp: Instant


class HistoryAnswer(msgspec.Struct, frozen=True):
    """What happened to a photo, the oldest first."""

    media_id: UUID
    total: int
    history: list[HistoryEntry]


@kept_while_unchanged
async def list_places(request: web.Request, session: Session, query: MapQuery) -> MapAnswer:
    """List the photos that have a place."""
    bounds = (query.min_lat, query.max_lat, query.min_lng, query.max_lng)
    if None in bounds and any(bound is not None for bound in bounds):
        missing = ("min_lat", "max_lat", "min_lng", "max_lng")[bounds.index(None)]
        raise invalid(f"/{missing}", "Give all four bounds or none.")
    _check_order(*bounds)
    db = request.app[DB]
    chosen = (session.user.id, query.has_trash, query.min_confidence, MOST_ITEMS)
    rows = await (db.fetch(SQL.photos, *chosen) if None in bounds else db.fetch(SQL.photos_in_box, *chosen, *bounds))
    found = await _detections(db, [row["id"] for row in rows])
    items = [_map_item(row, found[row["id"]], request.app[STORE]) for row in rows]
    return MapAnswer(rows[0]["total"] if rows else 0, items)


async def show_stats(request: web.Request, session: Session, query: StatsQuery) -> web.Response:
    """Count the photos with litter by cell. The same question within a minute gets the same answer."""
    _check_order(query.min_lat, query.max_lat, query.min_lng, query.max_lng)
    cache = request.app[STATS_CACHE]
    key = (session.user.id, query)
    if (kept := cache.get(key)) is None:
        cells = SQL.counted_cells if Decimal(repr(query.resolution)) % COUNTED_DEGREES == 0 else SQL.cells
        rows = await request.app[DB].fetch(cells, session.user.id, *msgspec.structs.astuple(query))
        kept = msgspec.json.encode(StatsAnswer(len(rows), [Cell(*row) for row in rows]))
        if len(kept) <= LARGEST_BYTES:
            cache[key] = kept
    return web.Response(body=kept, content_type="application/json")


async def show_history(request: web.Request, session: Session) -> HistoryAnswer:
    """List what happened to one photo."""
    wanted = media_id(request)
    rows = await request.app[DB].fetch(SQL.history, session.user.id, wanted)
    if not rows:
        raise media_not_found()
    history = [
        HistoryEntry(row["action"], row["message"], row["worker_name"], row["logged_at"])
        for row in rows
        if row["logged_at"] is not None
    ]
    return HistoryAnswer(wanted, len(history), history)


def _check_order(min_lat: float | None, max_lat: float | None, min_lng: float | None, max_lng: float | None) -> None:
    pairs = ((min_lat, max_lat), (min_lng, max_lng))
    if any(low is not None and high is not None and low > high for low, high in pairs):
        raise Problem(400, "invalid_bounding_box", "Invalid bounding box: min values must be <= max values.")


async def _detections(db: Database, media_ids: Sequence[UUID]) -> defaultdict[UUID, list[FoundThing]]:
    found: defaultdict[UUID, list[FoundThing]] = defaultdict(list)
    for row in await db.fetch(SQL.detections, media_ids):
        found[row["media_id"]].append(
            FoundThing(
                id=row["id"],
                label=row["label"],
                confidence=row["confidence"],
                bbox=BoundingBox(row["x"], row["y"], row["w"], row["h"]),
                area_sqm=row["area_sqm"],
                is_manual=row["is_manual"],
            )
        )
    return found


def _map_item(row: Record, detections: list[FoundThing], store: Store) -> MapItem:
    return MapItem(
        id=row["id"],
        filename=row["filename"],
        status=Status(row["status"]),
        worker_name=row["assigned_worker"],
        lat=row["lat"],
        lng=row["lng"],
        altitude=row["altitude"],
        address=row["address"],
        image_url=links.image_url(store, row["id"], row["store_path"], is_stored=row["is_stored"]),
        thumbnail_url=links.thumbnail_url(row["id"], has_thumbnail=row["has_thumbnail"]),
        has_trash=row["has_trash"],
        confidence=row["confidence"],
        detections=detections,
    )
