"""The vault: a user's photos, searched, sorted, paged and deleted."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Meta

from hyperion.db import Database, load_queries
from hyperion.media import photos
from hyperion.media.status import Status
from hyperion.media.transaction import photo_transaction
from hyperion.web.answers import kept_while_unchanged
from hyperion.web.items import MediaItem, media_items
from hyperion.web.keys import DB, STORE, WAKEUP
from hyperion.web.problems import media_not_found
from hyperion.web.reading import media_id
from hyperion.web.sessions import Session

SQL = load_queries(__package__, "vault.sql")

NOT_DELETABLE = "Media not found or you don't have permission to delete it"

PAGES = {
    ("created_at", "desc"): SQL.page_created_desc,
    ("created_at", "asc"): SQL.page_created_asc,
    ("filename", "desc"): SQL.page_filename_desc,
    ("filename", "asc"): SQL.page_filename_asc,
    ("status", "desc"): SQL.page_status_desc,
    ("status", "asc"): SQL.page_status_asc,
}
# Those of all photos, which the index alone can tell.
WHOLE_PAGES = {
    ("created_at", "desc"): SQL.page_newest,
    ("created_at", "asc"): SQL.page_oldest,
}


class VaultQuery(msgspec.Struct, frozen=True):
    """Which photos, in which order. `search` is looked for in the file name as it stands, in any case."""

    search: Annotated[str, Meta(max_length=255)] | None = None
    status: Status | None = None
    order_by: Literal["created_at", "filename", "status"] = "created_at"
    direction: Literal["asc", "desc"] = "desc"
    page: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1
    page_size: Annotated[int, Meta(ge=1, le=100)] = 20


class VaultPage(msgspec.Struct, frozen=True):
    """One page of the vault."""

    total: int
    page: int
    page_size: int
    total_pages: int
    items: list[MediaItem]


class Deleted(msgspec.Struct, frozen=True):
    """A photo is gone."""

    detail: str


class AllDeleted(msgspec.Struct, frozen=True):
    """All photos are gone."""

    detail: str
    deleted_count: int


@kept_while_unchanged
async def list_photos(request: web.Request, session: Session, query: VaultQuery) -> VaultPage:
    """List one page of the user's photos."""
    db = request.app[DB]
    total, media_ids = await _find_page(db, session.user.id, query)
    return VaultPage(
        total=total,
        page=query.page,
        page_size=query.page_size,
        total_pages=-(-total // query.page_size),
        items=await media_items(db, request.app[STORE], media_ids),
    )


async def _find_page(db: Database, user_id: str, query: VaultQuery) -> tuple[int, list[UUID]]:
    """Return how many photos there are and which are on the page."""
    offset = (query.page - 1) * query.page_size
    if query.search is None and query.status is None:
        total = await db.fetch_value(SQL.count_all, user_id) or 0
        if page := WHOLE_PAGES.get((query.order_by, query.direction)):
            rows = await db.fetch(page, user_id, query.page_size, offset)
            return total, [row["id"] for row in rows]
    else:
        total = await db.fetch_value(SQL.count, user_id, query.search, query.status)
    page = PAGES[query.order_by, query.direction]
    rows = await db.fetch(page, user_id, query.search, query.status, query.page_size, offset)
    return total, [row["id"] for row in rows]


async def delete_all(request: web.Request, session: Session) -> AllDeleted:
    """Delete every photo of the user; the stored files follow in the background."""
    async with photo_transaction(request.app[DB], request.app[WAKEUP]) as tx:
        count = await photos.delete(tx, session.user.id, None)
    return AllDeleted("All media deleted successfully" if count else "No media found to delete", count)


async def delete_one(request: web.Request, session: Session) -> Deleted:
    """Delete one photo of the user; the stored file follows in the background."""
    wanted = media_id(request, not_found=NOT_DELETABLE)
    async with photo_transaction(request.app[DB], request.app[WAKEUP]) as tx:
        count = await photos.delete(tx, session.user.id, [wanted])
    if not count:
        raise media_not_found(NOT_DELETABLE)
    return Deleted("Media deleted successfully")
