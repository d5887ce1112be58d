"""Moving photos from the local store to the Hub, by tasks that the archiver carries out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from hyperion.db import Database, load_queries
from hyperion.media import photos
from hyperion.media.store import LocalStore
from hyperion.media.transaction import photo_transaction
from hyperion.queue import Wakeup

SQL = load_queries("hyperion", "store_move.sql")

PAGE = 500
LOOK_S = 0.5


async def move(
    db: Database, wakeup: Wakeup, local: LocalStore, *, at_once: int, on_progress: Callable[[int, int], None]
) -> int:
    """Have every stored photo that is still in the folder moved; return how many there were.

    At most `at_once` wait in the archiver's line, so that new photos need not wait long. What is in
    the line is moved even if nobody waits for it; what was moved is not in the folder any more, so a
    second call goes on where the first one ended. `on_progress` gets how many of how many are done.
    """
    left = [(media_id, path) async for media_id, path in _stored(db) if local.has(path)]
    total = len(left)
    under_way: list[tuple[UUID, str]] = []
    while left or under_way:
        under_way = [(media_id, path) for media_id, path in under_way if local.has(path)]
        more, left = left[: at_once - len(under_way)], left[at_once - len(under_way) :]
        if more:
            async with photo_transaction(db, wakeup) as tx:
                await tx.enqueue([photos.move_task(media_id) for media_id, _ in more])
            under_way += more
        on_progress(total - len(left) - len(under_way), total)
        if under_way:
            await asyncio.sleep(LOOK_S)
    return total


async def _stored(db: Database) -> AsyncIterator[tuple[UUID, str]]:
    last: UUID | None = None
    while rows := await db.fetch(SQL.stored_photos, last, PAGE):
        for row in rows:
            yield row["id"], row["store_path"]
        last = rows[-1]["id"]
