"""Photos for tests of what happens to them: put in, stored, taken, looked at."""

from uuid import UUID, uuid4

from hyperion.actors.specs import ActorSpec, Life
from hyperion.db import Database
from hyperion.media import photos
from hyperion.media.photos import NewPhoto
from hyperion.media.status import Status
from hyperion.media.transaction import photo_transaction
from hyperion.queue import Claimer, Lease, Wakeup
from tests.photos import make_photo


async def add_user(db: Database, user_id: str = "u1") -> str:
    await db.execute(
        "INSERT INTO app_user (id, email, full_name, language, password_hash) VALUES ($1, $1, 'x', 'en', 'x')", user_id
    )
    return user_id


async def add_photo(
    db: Database, wakeup: Wakeup, user_id: str = "u1", content: bytes | None = None, media_id: UUID | None = None
) -> UUID:
    body = make_photo(size=(64, 48), lat=52.5, lng=13.4) if content is None else content
    photo = NewPhoto(
        id=media_id or uuid4(),
        user_id=user_id,
        filename="a.jpg",
        content_type="image/jpeg",
        size_bytes=len(body),
        width=64,
        height=48,
        store_path=f"media/{user_id}/2026-05-01/{uuid4()}_a.jpg",
    )
    async with photo_transaction(db, wakeup) as tx:
        await photos.create(tx, photo, [body[i : i + 1000] for i in range(0, len(body), 1000)])
    return photo.id


async def store(db: Database, wakeup: Wakeup, media_id: UUID) -> None:
    async with photo_transaction(db, wakeup) as tx:
        await photos.store_done(tx, [media_id])


async def status_of(db: Database, media_id: UUID) -> str:
    return str(await db.fetch_value("SELECT status FROM media WHERE id = $1", media_id))


async def walk_of(db: Database, media_id: UUID) -> list[Status]:
    rows = await db.fetch("SELECT status FROM media_log WHERE media_id = $1 ORDER BY seq", media_id)
    return [Status(row["status"]) for row in rows]


async def age(db: Database, media_id: UUID, seconds: float) -> None:
    await db.execute("UPDATE media SET updated_at = now() - make_interval(secs => $2) WHERE id = $1", media_id, seconds)


async def claim(db: Database, lane: str, boot: int = 7) -> Lease:
    [lease] = await Claimer(db, lane=lane, boot=boot, lease_s=60).claim(1)
    return lease


def life(kind: str, boot: int = 7) -> Life:
    return Life(spec=ActorSpec(kind, kind), node="n", label=kind.title(), boot=boot, restarts=0)
