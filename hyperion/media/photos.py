"""Photos in the database: every change of one, inside a transaction that rings the right bells.

A change of status is one conditional UPDATE and one row of history in the same statement. The
history row's number comes from a counter of the user's whose row stays locked until the commit, so
a user's numbers have no gap and no order but that of the commits: whoever has read up to `seq` has
missed nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from hyperion.db import Database, Record, load_queries
from hyperion.errors import PhotoGone, StatusConflict
from hyperion.media import quota
from hyperion.media.quota import NO_LIMIT, Allowance
from hyperion.media.status import REACHED_FROM, Status
from hyperion.media.transaction import ANALYSE_LANE, ARCHIVE_LANE, PhotoTransaction
from hyperion.queue import NewTask

SQL = load_queries(__package__, "photos.sql")

PART_BYTES = 1 << 20
STATUS_CHANGE = "STATUS_CHANGE"


@dataclass(frozen=True, kw_only=True)
class NewPhoto:
    """A photo that was checked and is about to be kept."""

    id: UUID
    user_id: str
    filename: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    store_path: str


@dataclass(frozen=True, kw_only=True)
class Photo:
    """What the actors need to know of a photo."""

    id: UUID
    pixels: int
    status: Status
    store_path: str
    is_stored: bool


async def create(
    tx: PhotoTransaction, photo: NewPhoto, parts: Iterable[bytes], *, allowance: Allowance = NO_LIMIT
) -> None:
    """Keep a new photo, PENDING, with its bytes and the task that stores them.

    `parts` are the bytes in order, each of PART_BYTES but the last. They go first: from the photo's row on
    the user's other photos wait for this commit. Raises QuotaExceeded, after which the transaction must not
    be committed.
    """
    for number, part in enumerate(parts):
        await tx.connection.execute(SQL.insert_part, photo.id, number, part)
    await tx.connection.execute(
        SQL.insert_media,
        photo.id,
        photo.user_id,
        photo.filename,
        photo.content_type,
        photo.size_bytes,
        photo.width,
        photo.height,
        photo.store_path,
    )
    await quota.hold_to(tx, photo.user_id, allowance)
    await tx.enqueue([archive_task(photo.id)])
    message = history_message(Status.PENDING)
    await write_history(tx, photo.id, photo.user_id, Status.PENDING, action=STATUS_CHANGE, message=message)


def archive_task(media_id: UUID) -> NewTask:
    """Return the task that puts a photo into the store."""
    return NewTask(lane=ARCHIVE_LANE, kind="archive", item=media_id)


def erase_task(store_path: str) -> NewTask:
    """Return the task that removes a file from the store."""
    return NewTask(lane=ARCHIVE_LANE, kind="erase", payload={"path": store_path})


def move_task(media_id: UUID) -> NewTask:
    """Return the task that takes a stored photo from the local store to the one that is in use now.

    The photo is not the task's item: what becomes of the task must not touch its status.
    """
    return NewTask(lane=ARCHIVE_LANE, kind="move", payload={"media_id": str(media_id)})


def analyse_task(media_id: UUID) -> NewTask:
    """Return the task that looks at a stored photo."""
    return NewTask(lane=ANALYSE_LANE, kind="analyse", item=media_id)


async def find(tx: PhotoTransaction, media_id: UUID) -> Photo:
    """Return the photo. Raises PhotoGone."""
    row = await tx.connection.fetchrow(SQL.find, media_id)
    if row is None:
        raise PhotoGone(media_id)
    return _photo(row)


async def find_paths(db: Database, media_ids: Sequence[UUID]) -> dict[UUID, tuple[str, int]]:
    """Map photos that still exist to their path in the store and their size in bytes."""
    rows = await db.fetch(SQL.find_paths, media_ids)
    return {row["id"]: (row["store_path"], row["size_bytes"]) for row in rows}


async def copy_blob(db: Database, media_id: UUID, target: Path) -> bool:
    """Write a photo's bytes from the database to `target`; False where they are there no more.

    All parts are read from one snapshot, since they can be dropped at any time.
    """
    async with db.transaction(isolation="repeatable_read", readonly=True) as connection:
        with target.open("wb") as file:
            number = 0
            while (part := await connection.fetchval(SQL.read_part, media_id, number)) is not None:
                file.write(part)
                number += 1
    return number > 0


async def lock(tx: PhotoTransaction, media_id: UUID) -> Status | None:
    """Keep the photo from changing until the transaction ends; return its status, None if gone."""
    status = await tx.connection.fetchval(SQL.lock, media_id)
    return Status(status) if status else None


async def advance(
    tx: PhotoTransaction, media_id: UUID, status: Status, *, worker: str | None = None, reason: str | None = None
) -> Photo:
    """Take one photo to `status`, with a row of history.

    To be where it should go already is not an error and writes nothing, so a step whose commit was
    uncertain can be repeated. `reason` is kept in the history and, for FAILED, with the photo.
    Raises PhotoGone, or StatusConflict where that step is not legal.
    """
    changed = await _change(tx, [media_id], status, REACHED_FROM[status], worker=worker, reason=reason)
    return _photo(changed[0]) if changed else await known_at(tx, media_id, status)


async def known_at(tx: PhotoTransaction, media_id: UUID, status: Status) -> Photo:
    """Return a photo that could not be taken to `status`, if only because it is there already.

    Raises PhotoGone, or StatusConflict.
    """
    photo = await find(tx, media_id)
    if photo.status is not status:
        raise StatusConflict(media_id, photo.status, status)
    return photo


async def lock_all(tx: PhotoTransaction, media_ids: Sequence[UUID]) -> None:
    """Lock photos and their users' numbers, for a transaction that changes them in several statements.

    A statement by itself takes the photos first and then the numbers, each in one order. After the numbers
    of one statement the next would take photos, and numbers, against that order.
    """
    rows = await tx.connection.fetch(SQL.list_existing, media_ids)
    await tx.connection.execute(SQL.lock_feeds, [row["user_id"] for row in rows])


async def abandon(tx: PhotoTransaction, media_ids: Sequence[UUID], *, reason: str) -> int:
    """Return photos that their worker left to UPLOADED; count those that were being analysed."""
    in_work = {Status.EXTRACTING, Status.PROCESSING}
    return len(await _change(tx, media_ids, Status.UPLOADED, in_work, reason=reason))


async def give_up(tx: PhotoTransaction, media_ids: Sequence[UUID], *, reason: str) -> int:
    """Make unfinished photos FAILED; count those that were unfinished."""
    return len(await _change(tx, media_ids, Status.FAILED, REACHED_FROM[Status.FAILED], reason=reason))


async def store_done(tx: PhotoTransaction, media_ids: Sequence[UUID]) -> set[UUID]:
    """Write down that the store has these photos and queue their analysis; return those that exist.

    One that was given up meanwhile stays FAILED, but can be seen and analysed again.
    """
    existing = await _lock_all(tx, media_ids)
    await tx.connection.execute(SQL.mark_stored, existing)
    changed = await _change(tx, existing, Status.UPLOADED, {Status.PENDING})
    await tx.enqueue([analyse_task(row["id"]) for row in changed])
    return set(existing)


async def drop_blob(tx: PhotoTransaction, media_id: UUID) -> None:
    """Drop a photo's bytes from the database, if the store has them."""
    await tx.connection.execute(SQL.drop_blob, media_id)


async def reopen(tx: PhotoTransaction, media_id: UUID, *, reason: str) -> Photo:
    """Take a READY or FAILED photo back to where its work can start again: UPLOADED, or PENDING
    where it never got into the store. Raises PhotoGone, or StatusConflict for one still in work.
    """
    photo = await find(tx, media_id)
    start = Status.UPLOADED if photo.is_stored else Status.PENDING
    finished = {Status.READY, Status.FAILED}
    if not await _change(tx, [media_id], start, finished, reason=reason):
        raise StatusConflict(media_id, photo.status, start)
    return photo


async def analyse_again(tx: PhotoTransaction, media_id: UUID) -> int:
    """Reopen a photo and queue the work on it; return the task's id. Raises as `reopen` does."""
    photo = await reopen(tx, media_id, reason="analysis asked for again")
    task = analyse_task(media_id) if photo.is_stored else archive_task(media_id)
    return (await tx.enqueue([task]))[0]


async def delete(tx: PhotoTransaction, user_id: str, media_ids: Sequence[UUID] | None) -> int:
    """Delete a user's photos (None: all) and queue the removal of their files; return how many.

    The removal is queued for every photo: one that is not stored yet may be on its way there.
    """
    gone = await tx.connection.fetch(SQL.delete_media, user_id, media_ids)
    if not gone:
        return 0
    await tx.enqueue([erase_task(row["store_path"]) for row in gone])
    return len(gone)


async def list_stuck(db: Database, status: Status, *, older_than_s: float, limit: int = 1000) -> list[UUID]:
    """List the photos that have been in `status` for so long, the oldest first."""
    return [row["id"] for row in await db.fetch(SQL.list_stuck, status, older_than_s, limit)]


def history_message(status: Status, reason: str | None = None) -> str:
    """Return what the history says of a change of status."""
    return f"Status changed to {status}" + (f": {reason}" if reason else "")


async def write_history(
    tx: PhotoTransaction, media_id: UUID, user_id: str, status: Status, *, action: str, message: str
) -> None:
    """Write one row of history for a photo of the user's, which is in `status`, numbered in the user's feed."""
    await tx.connection.execute(SQL.write_history, media_id, user_id, status, action, message)
    tx.has_changed(user_id)


async def _change(
    tx: PhotoTransaction,
    media_ids: Sequence[UUID],
    status: Status,
    may_be: Collection[Status],
    *,
    worker: str | None = None,
    reason: str | None = None,
) -> list[Record]:
    """Take those photos to `status` that are where they may be now, with their history; return their rows."""
    if len(media_ids) > 1:
        await _lock_all(tx, media_ids)
    failed_reason = (reason or "unknown") if status is Status.FAILED else None
    message = history_message(status, reason)
    changed = await tx.connection.fetch(
        SQL.change_status, media_ids, status, list(may_be), worker, failed_reason, message
    )
    for row in changed:
        tx.has_changed(row["user_id"])
    return changed


def _photo(row: Record) -> Photo:
    return Photo(
        id=row["id"],
        pixels=row["width"] * row["height"],
        status=Status(row["status"]),
        store_path=row["store_path"],
        is_stored=row["is_stored"],
    )


async def _lock_all(tx: PhotoTransaction, media_ids: Sequence[UUID]) -> list[UUID]:
    """Lock photos in the one order that everybody keeps, so that two batches never deadlock."""
    return [row["id"] for row in await tx.connection.fetch(SQL.list_existing, media_ids)]
