"""Archiver and worker: what they do with a photo, and with one that is gone, broken or too slow."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hyperion import queue
from hyperion.actors import mailbox
from hyperion.actors.archiver import Archiver
from hyperion.actors.worker import Worker
from hyperion.db import Database
from hyperion.errors import PhotoTooSlow, StoreUnavailable
from hyperion.media import photos
from hyperion.media.status import is_legal_walk
from hyperion.media.store import Item, LocalStore
from hyperion.media.transaction import ANALYSE_LANE, photo_transaction
from hyperion.queue import NewTask, Wakeup
from hyperion.settings import Settings
from tests.integration.media import add_photo, add_user, life, status_of, store, walk_of
from tests.photos import make_photo

STORED_AT = "SELECT store_path FROM media WHERE id = $1"


async def test_the_archiver_puts_the_bytes_in_the_store_and_the_worker_finishes(
    db: Database, wakeup: Wakeup, settings: Settings
) -> None:
    await add_user(db)
    content = make_photo(lat=1.5, lng=2.5)
    media_id = await add_photo(db, wakeup, content=content)
    archiver, worker = Archiver(life("archiver"), settings), Worker(life("worker"), settings)

    await archiver._handle(await archiver.next_leases(10))
    await worker._handle((await worker.next_leases(1))[0])

    stored = [path for path in settings.store_dir.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in stored] == [content]
    assert await status_of(db, media_id) == "READY"
    assert await db.fetch_value("SELECT count(*) FROM media_blob") == 0
    assert await db.fetch_value("SELECT done FROM actor_day WHERE label = 'Worker'") == 1
    for actor in (archiver, worker):
        await actor.db.close()


async def test_a_photo_that_is_stored_on_this_machine_is_read_there_and_never_written(
    db: Database, wakeup: Wakeup, settings: Settings
) -> None:
    await add_user(db)
    content = make_photo()
    first, second = [await add_photo(db, wakeup, content=content) for _ in range(2)]
    archiver, worker = Archiver(life("archiver"), settings), Worker(life("worker"), settings)
    await archiver._handle(await archiver.next_leases(10))
    await db.execute("UPDATE media_blob SET content = 'no photo' WHERE media_id = $1", first)
    kept, lost = [settings.store_dir / await db.fetch_value(STORED_AT, media_id) for media_id in (first, second)]
    worker._photo_file.link.hardlink_to(kept)  # left behind by a life that was killed

    lost.unlink()
    for _ in range(2):
        await worker._handle((await worker.next_leases(1))[0])

    assert [await status_of(db, media_id) for media_id in (first, second)] == ["READY", "READY"]
    assert (kept.read_bytes(), kept.stat().st_nlink) == (content, 1)
    for actor in (archiver, worker):
        await actor.db.close()


async def test_a_worker_whose_thread_is_stuck_ends_although_the_lease_is_lost(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(life("worker"), settings)
    ended = asyncio.Event()
    monkeypatch.setattr(worker, "_end_stuck", ended.set)
    async with db.transaction() as connection:
        await queue.enqueue(connection, [NewTask(lane=ANALYSE_LANE, kind="simulate")])
    [lease] = await worker.next_leases(1)
    async with db.transaction() as connection:
        await queue.finish(connection, [lease])

    await worker._settle_failure(lease, PhotoTooSlow(1.0))

    assert ended.is_set()
    await worker.db.close()


@pytest.mark.parametrize("verb", ["resume", "drain"])
async def test_a_worker_that_waits_obeys_at_once(db: Database, wakeup: Wakeup, settings: Settings, verb: str) -> None:
    await add_user(db)
    await store(db, wakeup, await add_photo(db, wakeup))
    worker = Worker(life("worker"), replace(settings, poll_s=60))
    worker.is_paused = True
    claiming = asyncio.create_task(worker.next_leases(1))
    reading = asyncio.create_task(worker._read_mail_forever())
    await mailbox.send(db, worker.life.label, verb)

    worker._mail.strike()

    async with asyncio.timeout(20):
        assert len(await claiming) == (1 if verb == "resume" else 0)
    if verb == "drain":  # or the next life would drain as well
        assert await mailbox.read(db, [worker.life.label]) == []
    reading.cancel()
    await worker.db.close()


async def test_the_net_that_ships_looks_at_a_photo(db: Database, wakeup: Wakeup, settings: Settings) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await store(db, wakeup, media_id)
    worker = Worker(life("worker"), replace(settings, detector="onnx", extraction_s=600))

    await worker._handle((await worker.next_leases(1))[0])

    row = await db.fetch_row("SELECT status, has_trash, address, technical_metadata FROM media")
    assert row is not None
    assert (row["status"], row["has_trash"], row["address"]) == ("READY", False, "Berlin, Germany")
    technical = json.loads(row["technical_metadata"])
    assert (technical["model"], technical["model_version"]) == ("litter", "1.0.0")
    assert 0 < technical["detection_ms"] < 60_000
    await worker.db.close()


class SpyingStore(LocalStore):
    """A local store that lets something happen after a photo was put, and takes no photo named bad."""

    def __init__(self, root: Path, after_put: Callable[[], Awaitable[None]]) -> None:
        super().__init__(root)
        self._after_put = after_put

    async def put_many(self, items: Sequence[Item]) -> None:
        for item in items:
            if "bad" in item.path:
                raise ValueError("bad name")
            if "away" in item.path:
                raise StoreUnavailable("no such disk")
        await super().put_many(items)
        await self._after_put()


async def nothing() -> None:
    return


async def test_a_photo_that_was_deleted_while_it_was_being_stored_leaves_no_file(
    db: Database, wakeup: Wakeup, settings: Settings
) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    archiver = Archiver(life("archiver"), settings)

    async def delete() -> None:
        async with photo_transaction(db, wakeup) as tx:
            await photos.delete(tx, "u1", [media_id])

    archiver._store = SpyingStore(settings.store_dir, delete)
    await archiver._handle(await archiver.next_leases(10))
    await archiver._handle(await archiver.next_leases(10))

    assert not [path for path in settings.store_dir.rglob("*") if path.is_file()]
    await archiver.db.close()


@pytest.mark.parametrize(
    ("path", "error"), [("media/bad", "ValueError: bad name"), ("media/away", "StoreUnavailable: no such disk")]
)
async def test_a_photo_that_the_store_refuses_does_not_spoil_its_batch(
    db: Database, wakeup: Wakeup, settings: Settings, path: str, error: str
) -> None:
    await add_user(db)
    good, bad, fine = [await add_photo(db, wakeup) for _ in range(3)]
    await db.execute("UPDATE media SET store_path = $2 WHERE id = $1", bad, path)
    archiver = Archiver(life("archiver"), settings)
    archiver._store = SpyingStore(settings.store_dir, nothing)

    await archiver._handle(await archiver.next_leases(10))

    assert [await status_of(db, media_id) for media_id in (good, bad, fine)] == ["UPLOADED", "PENDING", "UPLOADED"]
    assert await db.fetch_value("SELECT error FROM task_scheduled") == error
    await archiver.db.close()


async def test_a_photo_that_cannot_be_read_fails_at_once_with_a_reason(
    db: Database, wakeup: Wakeup, settings: Settings
) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup, content=b"\xff\xd8\xff\xe0 no photo")
    await store(db, wakeup, media_id)
    worker = Worker(life("worker"), settings)

    await worker._handle((await worker.next_leases(1))[0])

    assert await status_of(db, media_id) == "FAILED"
    assert await db.fetch_value("SELECT failed_reason FROM media") == "The photo is damaged or incomplete."
    await worker.db.close()


async def test_a_photo_whose_file_is_missing_is_tried_again_and_then_fails(
    db: Database, wakeup: Wakeup, settings: Settings
) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await store(db, wakeup, media_id)
    await db.execute("DELETE FROM media_blob")
    worker = Worker(life("worker"), settings)

    for _ in range(settings.max_attempts):
        await worker._handle((await worker.next_leases(1))[0])
        await db.execute("UPDATE task_scheduled SET run_at = now()")
        await queue.promote_due(db)

    assert await status_of(db, media_id) == "FAILED"
    assert is_legal_walk(await walk_of(db, media_id))
    await worker.db.close()
