"""Uploads: receive, check, keep. Nothing is kept before the whole request has arrived."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
from aiohttp import web

from hyperion import logs
from hyperion.db import load_queries
from hyperion.errors import CommitUncertain, DatabaseUnavailable, PhotoUnusable, QuotaExceeded
from hyperion.media import image, names, photos, quota
from hyperion.media.photos import NewPhoto
from hyperion.media.quota import Allowance
from hyperion.media.transaction import photo_transaction
from hyperion.web.answers import kept_while_unchanged
from hyperion.web.ids import uuid7
from hyperion.web.items import MediaItem, media_items
from hyperion.web.keys import DB, KEEPERS, PROBES, SETTINGS, STORE, TRAFFIC, UPLOAD_SPOOL, WAKEUP
from hyperion.web.multipart import Received, receive_files
from hyperion.web.problems import Problem, ProblemBody, unavailable
from hyperion.web.sessions import Session

log = logs.get_logger()

SQL = load_queries(__package__, "vault.sql")

RECENT = 4
CERTAINTY_TRIES = 5
CERTAINTY_WAIT_S = 0.3


class Rejected(msgspec.Struct, frozen=True):
    """A file that was not kept, and why."""

    filename: str
    code: str
    detail: str


class Uploaded(msgspec.Struct, frozen=True):
    """What was kept, durably, and what was not."""

    message: str
    media_ids: list[UUID]
    rejected: list[Rejected]


class NothingKept(ProblemBody, frozen=True):
    """No file was kept; `rejected` says why of each, unless the request was refused as a whole."""

    rejected: list[Rejected] = msgspec.field(default_factory=list)


class Recents(msgspec.Struct, frozen=True):
    """The newest photos."""

    total: int
    items: list[MediaItem]


@dataclass(frozen=True)
class _Checked:
    photo: NewPhoto
    path: Path


async def upload_files(request: web.Request, session: Session) -> Uploaded:
    """Keep the photos of a multipart body; a file that is no photo is reported and spoils no other."""
    await quota.check(request.app[DB], session.user.id, _allowance(request))
    async with request.app[UPLOAD_SPOOL].folder() as folder:
        checked, rejected = await _receive_all(request, session.user.id, folder)
        if not checked:
            request.app[TRAFFIC].count_files(rejected=len(rejected))
            raise _nothing_usable(rejected)
        media_ids = await _keep_all(request, checked, rejected)
    request.app[TRAFFIC].count_files(stored=len(media_ids), rejected=len(rejected))
    if not media_ids:
        raise _nothing_usable(rejected)
    return Uploaded(f"{len(media_ids)} files uploaded successfully", media_ids, rejected)


@kept_while_unchanged
async def recents(request: web.Request, session: Session) -> Recents:
    """List the four newest photos."""
    db = request.app[DB]
    rows = await db.fetch(SQL.page_newest, session.user.id, RECENT, 0)
    items = await media_items(db, request.app[STORE], [row["id"] for row in rows])
    return Recents(len(items), items)


async def _receive_all(request: web.Request, user_id: str, folder: Path) -> tuple[list[_Checked], list[Rejected]]:
    settings = request.app[SETTINGS]
    checked: list[_Checked] = []
    rejected: list[Rejected] = []
    files = receive_files(
        request,
        folder,
        max_files=settings.max_files,
        max_file_bytes=settings.max_file_bytes,
        step_s=settings.request_timeout_s,
    )
    try:
        async with asyncio.timeout(settings.upload_timeout_s), aclosing(files):
            async for file in files:
                try:
                    checked.append(await _check(request, file, user_id))
                except PhotoUnusable as fault:
                    rejected.append(Rejected(names.display_name(file.filename), fault.code, fault.detail))
                    await asyncio.to_thread(file.path.unlink)
    except TimeoutError:
        raise Problem(408, "too_slow", f"The upload did not arrive within {settings.upload_timeout_s:g} s.") from None
    return checked, rejected


async def _check(request: web.Request, file: Received, user_id: str) -> _Checked:
    settings = request.app[SETTINGS]
    if file.is_too_large:
        raise PhotoUnusable("too_large", f"The file has more than {settings.max_file_bytes} bytes.")
    async with request.app[PROBES]:
        try:
            probe = await asyncio.to_thread(image.probe, file.path, max_pixels=settings.max_pixels)
        except MemoryError as fault:
            raise PhotoUnusable("unavailable", "There was no memory to check this file. Send it again.") from fault
    media_id = uuid7()
    filename = names.display_name(file.filename)
    photo = NewPhoto(
        id=media_id,
        user_id=user_id,
        filename=filename,
        content_type=probe.content_type,
        size_bytes=file.size_bytes,
        width=probe.width,
        height=probe.height,
        store_path=names.store_path(user_id, media_id, filename, datetime.now(UTC).date()),
    )
    return _Checked(photo, file.path)


def _nothing_usable(rejected: list[Rejected]) -> Problem:
    if not rejected:
        return Problem(422, "no_files", "The field `files` holds no file.")
    shown = {"rejected": [msgspec.to_builtins(entry) for entry in rejected]}
    if all(entry.code in ("too_large", "over_quota") for entry in rejected):
        return Problem(413, rejected[0].code, rejected[0].detail, extra=shown)
    if all(entry.code == "unavailable" for entry in rejected):
        return unavailable("unavailable", rejected[0].detail)
    detail = rejected[0].detail if len(rejected) == 1 else "None of the files can be kept."
    return Problem(422, "no_usable_files", detail, extra=shown)


async def _keep_all(request: web.Request, checked: list[_Checked], rejected: list[Rejected]) -> list[UUID]:
    """Keep the photos, each in a transaction of its own; return the ids of those that are durable.

    When the database goes away in between, what is kept must still be acknowledged: the rest is
    reported. Raises DatabaseUnavailable when nothing was kept.
    """
    kept: list[UUID] = []
    for number, item in enumerate(checked):
        try:
            await _keep(request, item)
        except DatabaseUnavailable as error:
            if isinstance(error, CommitUncertain) and await _is_kept(request, item.photo.id):
                kept.append(item.photo.id)
                continue
            if not kept:
                raise
            log.warning("upload.cut_short", kept=len(kept), lost=len(checked) - number, reason=str(error))
            detail = "The database went away before this file was kept. Send it again."
            rejected += [Rejected(rest.photo.filename, "unavailable", detail) for rest in checked[number:]]
            break
        except QuotaExceeded as fault:
            rejected.append(Rejected(item.photo.filename, "over_quota", str(fault)))
        else:
            kept.append(item.photo.id)
    return kept


async def _keep(request: web.Request, item: _Checked) -> None:
    async with request.app[KEEPERS], photo_transaction(request.app[DB], request.app[WAKEUP]) as tx:
        await photos.create(tx, item.photo, _parts(item.path), allowance=_allowance(request))


def _allowance(request: web.Request) -> Allowance:
    settings = request.app[SETTINGS]
    return Allowance(files=settings.user_max_files, size_bytes=settings.user_max_bytes)


async def _is_kept(request: web.Request, media_id: UUID) -> bool:
    """Find out what became of a commit whose answer was lost; False where that stays unknown.

    A photo that is sent twice does less harm than one that is acknowledged and gone.
    """
    for _ in range(CERTAINTY_TRIES):
        try:
            return bool(await request.app[DB].fetch_value(SQL.exists, media_id))
        except DatabaseUnavailable:
            await asyncio.sleep(CERTAINTY_WAIT_S)
    return False


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(photos.PART_BYTES):
            yield part
