"""Photos in the database: legal steps only, every step in the history, nothing lost on the way."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hyperion import queue
from hyperion.actors import mailbox
from hyperion.actors.archiver import Archiver
from hyperion.actors.reaper import Reaper
from hyperion.actors.specs import ActorSpec, Life
from hyperion.actors.worker import Worker
from hyperion.db import Database
from hyperion.errors import PhotoGone, PhotoTooSlow, StatusConflict, StoreUnavailable
from hyperion.media import photos, recovery
from hyperion.media.photos import NewPhoto
from hyperion.media.status import REACHED_FROM, Status, is_legal_walk
from hyperion.media.store import Item, LocalStore
from hyperion.media.transaction import ANALYSE_LANE, LIVE_CHANNEL, PhotoTransaction, photo_transaction
from hyperion.queue import Claimer, Lease, NewTask, Wakeup
from hyperion.settings import Settings, load
from tests.photos import make_photo
from tests.until import until

STORED_AT = "SELECT store_path FROM media WHERE id = $1"
Act = Callable[[PhotoTransaction], Awaitable[object]]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return load(
        {
            "DATABASE_URL": database_url,
            "SECRET_KEY": "k" * 32,
            "HYPERION_VAR": str(tmp_path),
            "HYPERION_DETECTOR": "simulated",
            "HYPERION_SIMULATED_EXTRACTION_S": "0",
            "HYPERION_SIMULATED_PROCESSING_S": "0",
        }
    )


@pytest.fixture
async def in_transaction(db: Database, wakeup: Wakeup) -> Callable[[Act], Awaitable[None]]:
    async def run(act: Act) -> None:
        async with photo_transaction(db, wakeup) as tx:
            await act(tx)

    return run


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


async def test_a_new_photo_is_pending_with_its_bytes_its_history_and_its_task(
    db: Database, wakeup: Wakeup, tmp_path: Path
) -> None:
    await add_user(db)
    content = make_photo()

    media_id = await add_photo(db, wakeup, content=content)

    assert await photos.copy_blob(db, media_id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert await walk_of(db, media_id) == [Status.PENDING]
    assert (await claim(db, "archive")).item == media_id


@pytest.mark.parametrize("status", list(Status))
async def test_only_legal_steps_are_taken(db: Database, wakeup: Wakeup, status: Status) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)

    async def step() -> None:
        async with photo_transaction(db, wakeup) as tx:
            await photos.advance(tx, media_id, status, reason="x")

    if Status.PENDING in REACHED_FROM[status] and status is Status.FAILED:
        await step()
        assert await status_of(db, media_id) == status
    elif status is Status.PENDING:
        await step()  # it is there already
        assert await walk_of(db, media_id) == [Status.PENDING]
    elif status is not Status.UPLOADED:
        with pytest.raises(StatusConflict):
            await step()
        assert await walk_of(db, media_id) == [Status.PENDING]


async def test_a_step_that_was_taken_already_is_not_logged_twice(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await store(db, wakeup, media_id)

    for _ in range(2):
        async with photo_transaction(db, wakeup) as tx:
            await photos.advance(tx, media_id, Status.EXTRACTING, worker="Helios")

    assert await walk_of(db, media_id) == [Status.PENDING, Status.UPLOADED, Status.EXTRACTING]


async def test_a_step_of_a_deleted_photo_says_that_it_is_gone(db: Database, wakeup: Wakeup) -> None:
    with pytest.raises(PhotoGone):
        async with photo_transaction(db, wakeup) as tx:
            await photos.advance(tx, uuid4(), Status.EXTRACTING)


async def test_a_users_numbers_have_no_gap_whoever_writes_at_once(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    await add_user(db, "u2")
    media_ids = [await add_photo(db, wakeup, user) for user in ("u1", "u2") for _ in range(6)]

    await asyncio.gather(*(store(db, wakeup, media_id) for media_id in media_ids))

    for user in ("u1", "u2"):
        rows = await db.fetch("SELECT seq FROM media_log WHERE user_id = $1 ORDER BY seq", user)
        assert [row["seq"] for row in rows] == list(range(1, 13))


async def test_a_number_is_visible_only_after_all_lower_ones_of_the_user(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    first, second = [await add_photo(db, wakeup) for _ in range(2)]

    async with photo_transaction(db, wakeup) as slow:
        await photos.give_up(slow, [first], reason="x")
        quick = asyncio.create_task(store(db, wakeup, second))
        seen = [row["seq"] for row in await db.fetch("SELECT seq FROM media_log ORDER BY seq")]
    await quick

    assert seen == [1, 2]
    assert [row["seq"] for row in await db.fetch("SELECT seq FROM media_log ORDER BY seq")] == [1, 2, 3, 4]


async def test_a_change_wakes_those_who_watch_and_one_that_nobody_watches_wakes_nobody(
    db: Database, wakeup: Wakeup
) -> None:
    for user in ("u1", "u2"):
        await add_user(db, user)
    await db.execute("INSERT INTO socket_place (user_id, place, boot) VALUES ('u2', 1, 7), ('u2', 2, 7)")
    listener = Wakeup(db)
    bell = listener.bell(LIVE_CHANNEL)
    listening = asyncio.create_task(listener.run())
    assert await bell.wait(10) == {""}  # it listens

    for user in ("u1", "u2"):
        await add_photo(db, wakeup, user)

    assert await bell.wait(10) == {"u2"}
    listening.cancel()


async def test_a_batch_of_several_users_is_numbered_for_each_and_an_illegal_step_not_at_all(
    db: Database, wakeup: Wakeup
) -> None:
    for user in ("u1", "u2"):
        await add_user(db, user)
    media_ids = [await add_photo(db, wakeup, user) for user in ("u1", "u2", "u1", "u2", "u1")]
    await store(db, wakeup, media_ids[0])

    async with photo_transaction(db, wakeup) as tx:
        await photos.store_done(tx, media_ids)

    rows = await db.fetch("SELECT user_id, array_agg(seq ORDER BY seq) AS seqs FROM media_log GROUP BY user_id")
    assert {row["user_id"]: row["seqs"] for row in rows} == {"u1": [1, 2, 3, 4, 5, 6], "u2": [1, 2, 3, 4]}
    for media_id in media_ids:
        assert await walk_of(db, media_id) == [Status.PENDING, Status.UPLOADED]


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


async def test_a_rescue_takes_the_photo_back_with_its_task(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await store(db, wakeup, media_id)
    lease = await claim(db, "analyse")
    async with photo_transaction(db, wakeup) as tx:
        await photos.advance(tx, media_id, Status.EXTRACTING, worker="Helios")

    freed = await recovery.rescue_boots(db, wakeup, [lease.boot], who="Helios", max_crashes=3)

    assert (freed.returned, freed.dead) == (1, 0)
    assert await status_of(db, media_id) == "UPLOADED"


async def test_a_worker_that_ended_in_order_costs_its_task_nothing(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    await store(db, wakeup, await add_photo(db, wakeup))
    lease = await claim(db, "analyse")

    await recovery.rescue_boots(db, wakeup, [lease.boot], who="Helios", max_crashes=1, is_crash=False)

    again = await claim(db, "analyse")
    assert (again.task_id, again.attempt, again.crashes) == (lease.task_id, 1, 0)


async def test_an_operator_brings_a_failed_photo_back(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await store(db, wakeup, media_id)
    lease = await claim(db, "analyse")
    await recovery.rescue_boots(db, wakeup, [lease.boot], who="Helios", max_crashes=1)
    assert await status_of(db, media_id) == "FAILED"

    revived = await recovery.revive(db, wakeup, [lease.task_id])

    assert revived == 1
    assert await status_of(db, media_id) == "UPLOADED"
    assert (await claim(db, "analyse")).task_id == lease.task_id


async def test_photos_of_several_users_are_brought_back_while_others_of_theirs_change(
    db: Database, wakeup: Wakeup
) -> None:
    for user in ("u1", "u2"):
        await add_user(db, user)
    lost = [await add_photo(db, wakeup, user, media_id=UUID(int=n)) for n, user in enumerate(("u2", "u1"))]
    others = [await add_photo(db, wakeup, user) for user in ("u1", "u2")]
    for media_id in lost:
        await store(db, wakeup, media_id)
    leases = [await claim(db, "analyse") for _ in lost]
    await recovery.rescue_boots(db, wakeup, [7], who="Helios", max_crashes=1)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async with photo_transaction(db, wakeup) as tx:
        await photos.give_up(tx, others[:1], reason="x")
        reviving = asyncio.create_task(recovery.revive(db, wakeup, [lease.task_id for lease in leases]))
        await until(lambda: db.fetch_value(waits))
        await photos.give_up(tx, others[1:], reason="x")

    assert await reviving == 2
    assert [await status_of(db, media_id) for media_id in lost] == ["UPLOADED", "UPLOADED"]


async def test_all_of_a_users_photos_are_deleted_while_several_of_them_change(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    one, first, another = [await add_photo(db, wakeup, media_id=UUID(int=n)) for n in (2, 1, 3)]
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def delete_all() -> int:
        async with photo_transaction(db, wakeup) as tx:
            return await photos.delete(tx, "u1", None)

    async with photo_transaction(db, wakeup) as tx:
        await photos.lock_all(tx, [first])
        deleting = asyncio.create_task(delete_all())
        await until(lambda: db.fetch_value(waits))
        await photos.give_up(tx, [one, first, another], reason="x")

    assert await deleting == 3


async def test_a_photo_in_work_cannot_be_analysed_again(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)

    with pytest.raises(StatusConflict):
        async with photo_transaction(db, wakeup) as tx:
            await photos.analyse_again(tx, media_id)


async def test_of_two_who_ask_for_another_analysis_one_gets_it(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    async with photo_transaction(db, wakeup) as tx:
        await photos.give_up(tx, [media_id], reason="x")

    async def ask() -> int:
        async with photo_transaction(db, wakeup) as tx:
            return await photos.analyse_again(tx, media_id)

    results = await asyncio.gather(ask(), ask(), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["StatusConflict", "int"]


@pytest.fixture
async def reaper(settings: Settings, db: Database) -> Reaper:
    reaper = Reaper(life("reaper"), settings)
    reaper.db, reaper.wakeup = db, Wakeup(db)
    return reaper


async def test_a_pending_photo_that_nobody_will_store_fails(db: Database, wakeup: Wakeup, reaper: Reaper) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await db.execute("DELETE FROM task_ready")
    await age(db, media_id, 901)

    counts = await reaper.mend_photos()

    assert counts["failed"] == 1
    assert await db.fetch_value("SELECT failed_reason FROM media") == "not stored within 900 s"


async def test_a_pending_photo_whose_task_still_waits_is_left_alone(
    db: Database, wakeup: Wakeup, reaper: Reaper
) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await age(db, media_id, 100_000)

    await reaper.mend_photos()

    assert await status_of(db, media_id) == "PENDING"


@pytest.mark.parametrize("status", [Status.UPLOADED, Status.EXTRACTING])
async def test_a_photo_that_lost_its_task_gets_one(
    db: Database, wakeup: Wakeup, reaper: Reaper, status: Status
) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await store(db, wakeup, media_id)
    if status is Status.EXTRACTING:
        async with photo_transaction(db, wakeup) as tx:
            await photos.advance(tx, media_id, status)
    await db.execute("DELETE FROM task_ready")
    await age(db, media_id, 601)

    await reaper.mend_photos()
    await reaper.mend_photos()

    assert await status_of(db, media_id) == "UPLOADED"
    assert await db.fetch_value("SELECT count(*) FROM task_ready WHERE lane = 'analyse'") == 1


async def test_the_reaper_sweeps_what_is_over(db: Database, reaper: Reaper) -> None:
    await db.execute(
        "INSERT INTO revoked_token VALUES ('old', now() - interval '2 min'), ('new', now() - interval '10 s')"
    )
    await db.execute("INSERT INTO login_failure (key, failed_at) VALUES ('a', now() - interval '2 days'), ('b', now())")
    await db.execute("INSERT INTO socket_place (user_id, place, boot) VALUES ('ada', 1, 77), ('ada', 2, 88)")
    await db.execute(
        "INSERT INTO actor (node, name, label, kind, boot, pid, state)"
        " VALUES ('n', 'web', 'web', 'web', 77, 1, 'ready')"
    )

    counts = await reaper.sweep()

    assert (counts["tokens"], counts["failures"], counts["places"]) == (1, 1, 1)
    assert await db.fetch_value("SELECT count(*) FROM revoked_token") == 1


async def test_deleting_a_user_deletes_photos_detections_and_history(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    await add_photo(db, wakeup)

    await db.execute("DELETE FROM app_user")

    for table in ("media", "media_blob", "media_log", "feed"):
        assert await db.fetch_value(f"SELECT count(*) FROM {table}") == 0
