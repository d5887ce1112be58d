"""Photos in the database, archivers at work on them, and what the repository must hold in the end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

from hyperion.actors.archiver import Archiver
from hyperion.actors.specs import ActorSpec, Life
from hyperion.db import Database
from hyperion.media import photos
from hyperion.media.photos import NewPhoto
from hyperion.media.transaction import photo_transaction
from hyperion.queue import Wakeup
from hyperion.settings import Settings
from tests.hub.conftest import REPO
from tests.hub.server import Hub


async def add_user(db: Database) -> None:
    await db.execute(
        "INSERT INTO app_user (id, email, full_name, language, password_hash) VALUES ('u1', 'u1', 'x', 'en', 'x')"
    )


async def add_photo(db: Database, wakeup: Wakeup, *, content: bytes | None = None, name: str = "a.jpg") -> UUID:
    media_id = uuid4()
    body = content or f"photo {media_id}".encode()
    photo = NewPhoto(
        id=media_id,
        user_id="u1",
        filename=name,
        content_type="image/jpeg",
        size_bytes=len(body),
        width=1,
        height=1,
        store_path=f"media/u1/2026-05-01/{media_id}_{name}",
    )
    async with photo_transaction(db, wakeup) as tx:
        await photos.create(tx, photo, [body])
    return media_id


def life(kind: str, boot: int = 7) -> Life:
    return Life(spec=ActorSpec(kind, kind), node="n", label=kind.title(), boot=boot, restarts=0)


@asynccontextmanager
async def at_work(settings: Settings, boot: int = 7) -> AsyncIterator[Archiver]:
    """Let an archiver work for the time of the block, then stop it as a signal would."""
    archiver = Archiver(life("archiver", boot), settings)
    working = asyncio.create_task(archiver.work())
    try:
        yield archiver
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        await archiver.db.close()


async def depose(db: Database) -> None:
    """Cut the connection by which the archiver leads, as a network would."""
    await db.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")


async def statuses(db: Database) -> Counter[str]:
    return Counter(row["status"] for row in await db.fetch("SELECT status FROM media"))


async def delete(db: Database, wakeup: Wakeup, media_id: UUID) -> None:
    async with photo_transaction(db, wakeup) as tx:
        await photos.delete(tx, "u1", [media_id])


async def are_equal(db: Database, hub: Hub) -> bool:
    """Tell whether the repository has exactly the photos of the database, byte for byte, and no work is left."""
    rows = await db.fetch("SELECT m.store_path, b.content FROM media AS m JOIN media_blob AS b ON b.media_id = m.id")
    repository = hub.repositories.get(REPO)
    waiting = await db.fetch_value(
        "SELECT (SELECT count(*) FROM task_ready WHERE lane = 'archive') + (SELECT count(*) FROM task_scheduled)"
        " + (SELECT count(*) FROM task_lease)"
    )
    there = {path: repository.read(path) for path in repository.files} if repository else {}
    return not waiting and there == {row["store_path"]: row["content"] for row in rows}


def committed_twice(hub: Hub) -> list[str]:
    """List the paths that more than one commit added."""
    added = Counter(path for commit in hub.repository(REPO).commits for path in commit.added)
    return [path for path, count in added.items() if count > 1]


async def statuses_are(db: Database, wanted: dict[str, int]) -> bool:
    return await statuses(db) == wanted
