"""The archiver on the Hub: every photo there once, and nobody lost, whatever the Hub does."""

import pytest

from hyperion import queue
from hyperion.actors.reaper import Reaper
from hyperion.actors.worker import Worker
from hyperion.db import Database
from hyperion.media import recovery
from hyperion.media.store import LocalStore, state
from hyperion.queue import Wakeup
from hyperion.settings import Settings
from hyperion.store_move import move
from tests.hub import faults
from tests.hub.archive import (
    add_photo,
    add_user,
    are_equal,
    at_work,
    committed_twice,
    delete,
    life,
    statuses,
    statuses_are,
)
from tests.hub.conftest import REPO, Boot
from tests.hub.faults import Fault, Where
from tests.hub.repository import Commit
from tests.hub.server import Hub
from tests.photos import make_photo
from tests.until import until

STORE = f"hub:{REPO}"


@pytest.fixture(autouse=True)
async def _user(db: Database) -> None:
    await add_user(db)


async def test_photos_that_come_together_go_in_one_commit(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    for _ in range(5):
        await add_photo(db, wakeup)

    async with at_work(settings(HYPERION_HUB_LINGER_S="0.3")):
        await add_photo(db, wakeup)
        await until(lambda: are_equal(db, hub))

    assert await statuses(db) == {"UPLOADED": 6}
    assert len(hub.repository(REPO).commits) == 2
    assert hub.repository(REPO).commits[-1].summary == "Add 6 photos"


async def test_a_worker_reads_back_from_the_hub_what_left_the_database(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    media_id = await add_photo(db, wakeup, content=make_photo(lat=1.5, lng=2.5))
    async with at_work(settings()):
        await until(lambda: are_equal(db, hub))
    await db.execute("DELETE FROM media_blob")
    worker = Worker(life("worker"), settings())

    await worker._handle((await worker.next_leases(1))[0])

    row = await db.fetch_row("SELECT status, lat FROM media WHERE id = $1", media_id)
    assert row is not None
    assert (row["status"], row["lat"]) == ("READY", pytest.approx(1.5))
    await worker._store.close()
    await worker.db.close()


async def test_a_hub_that_is_away_costs_the_photos_that_a_worker_wants_no_attempt(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    await add_photo(db, wakeup, content=make_photo())
    async with at_work(settings()):
        await until(lambda: are_equal(db, hub))
    await db.execute("DELETE FROM media_blob")
    worker = Worker(life("worker"), settings(HYPERION_MAX_ATTEMPTS="1"))
    hub.faults.order("resolve", faults.BROKEN_BEFORE)

    await worker._handle((await worker.next_leases(1))[0])
    shown = await statuses(db)
    await db.execute("UPDATE task_scheduled SET run_at = now()")
    await queue.promote_due(db)
    await worker._handle((await worker.next_leases(1))[0])

    assert shown == {"UPLOADED": 1}
    assert await statuses(db) == {"READY": 1}
    await worker._store.close()
    await worker.db.close()


async def test_a_deleted_photo_leaves_the_hub_with_the_next_commit(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    kept, gone = [await add_photo(db, wakeup) for _ in range(2)]
    async with at_work(settings()):
        await until(lambda: are_equal(db, hub))
        await delete(db, wakeup, gone)
        await until(lambda: are_equal(db, hub))

    assert [str(kept) in path for path in hub.repository(REPO).files] == [True]


async def test_a_photo_that_is_deleted_before_it_was_sent_is_never_sent(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    hub.create(REPO)
    await delete(db, wakeup, await add_photo(db, wakeup))

    async with at_work(settings()):
        await until(lambda: are_equal(db, hub))

    assert len(hub.repository(REPO).commits) == 1


async def test_one_spoilt_photo_is_found_and_fails_alone(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    for number in range(9):
        await add_photo(db, wakeup, name="spoilt.jpg" if number == 4 else "a.jpg")

    async with at_work(settings(HYPERION_MAX_ATTEMPTS="1", HYPERION_HUB_BURST="20")):
        await until(lambda: statuses_are(db, {"UPLOADED": 8, "FAILED": 1}))

    assert "400" in await db.fetch_value("SELECT failed_reason FROM media WHERE status = 'FAILED'")
    assert len(hub.repository(REPO).files) == 8


@pytest.mark.parametrize("status", [413, 422])
async def test_a_photo_is_found_and_fails_alone_whatever_it_is_refused_with(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot, status: int
) -> None:
    for number in range(4):
        await add_photo(db, wakeup, name=f"spoilt-{status}.jpg" if number == 2 else "a.jpg")

    async with at_work(settings(HYPERION_MAX_ATTEMPTS="1", HYPERION_HUB_BURST="20")):
        await until(lambda: statuses_are(db, {"UPLOADED": 3, "FAILED": 1}))

    assert str(status) in await db.fetch_value("SELECT failed_reason FROM media WHERE status = 'FAILED'")


async def test_spoilt_photos_at_the_head_of_the_line_do_not_look_like_a_hub_that_takes_nothing(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    for number in range(9):
        await add_photo(db, wakeup, name="spoilt.jpg" if number < 3 else "a.jpg")

    async with at_work(settings(HYPERION_MAX_ATTEMPTS="1", HYPERION_HUB_BURST="200")):
        await until(lambda: statuses_are(db, {"UPLOADED": 6, "FAILED": 3}))


@pytest.mark.parametrize("where", ["preupload", "commit"])
async def test_an_answer_that_nobody_understands_is_the_hubs_fault_and_not_the_photos(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot, where: Where
) -> None:
    hub.create(REPO)
    await add_photo(db, wakeup)
    hub.faults.order(where, *faults.GARBAGE)

    async with at_work(settings(HYPERION_MAX_ATTEMPTS="1", HYPERION_HUB_BURST="200")):
        await until(lambda: statuses_are(db, {"UPLOADED": 1}))
        await until(lambda: are_equal(db, hub))

    assert not committed_twice(hub)


async def test_a_hub_that_refuses_every_photo_is_at_fault_and_not_the_photos(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    hub.create(REPO)
    for _ in range(8):
        await add_photo(db, wakeup)
    hub.faults.order("commit", *[Fault(status=400)] * 7)

    async with at_work(settings(HYPERION_MAX_ATTEMPTS="1", HYPERION_HUB_BURST="20")):
        await until(lambda: statuses_are(db, {"UPLOADED": 8}))

    assert await are_equal(db, hub)


async def test_a_commit_that_is_too_large_is_halved(db: Database, wakeup: Wakeup, hub: Hub, settings: Boot) -> None:
    hub.most_files = 3
    for _ in range(8):
        await add_photo(db, wakeup)

    async with at_work(settings(HYPERION_HUB_BURST="20")):
        await until(lambda: are_equal(db, hub))

    assert max(len(commit.added) for commit in hub.repository(REPO).commits) <= 3
    assert not committed_twice(hub)


async def test_a_batch_is_full_at_its_size_in_bytes(db: Database, wakeup: Wakeup, hub: Hub, settings: Boot) -> None:
    for number in range(4):
        await add_photo(db, wakeup, content=bytes([number]) * 600_000)

    async with at_work(settings(HYPERION_HUB_BATCH_BYTES=str(1 << 20), HYPERION_HUB_BURST="20")):
        await until(lambda: are_equal(db, hub))

    assert [len(commit.added) for commit in hub.repository(REPO).commits[1:]] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (Fault(status=429, headers={"Retry-After": "1800"}), "throttled"),
        (Fault(status=403), "refused"),
        (Fault(status=503, headers={"Retry-After": "1800"}), "away"),
    ],
)
async def test_while_the_hub_takes_nothing_photos_wait_and_nobody_fails_them(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot, fault: Fault, shown: str
) -> None:
    hub.create(REPO)
    media_id = await add_photo(db, wakeup)
    hub.faults.order("commit", fault)
    patient = settings(HYPERION_HUB_REFUSED_PAUSE_S="1800")

    async with at_work(patient):
        known = await until(lambda: shown_as(db, shown))
        await db.execute("UPDATE media SET updated_at = now() - interval '1 day'")
        await db.execute("DELETE FROM task_ready")  # even if its task were lost
        reaper = Reaper(life("reaper"), patient)
        await reaper.mend_photos()
        await reaper.db.close()

    assert known.detail
    assert known.resumes_at is not None
    assert str(await db.fetch_value("SELECT status FROM media WHERE id = $1", media_id)) == "PENDING"


async def shown_as(db: Database, wanted: str) -> state.StoreState | None:
    known = await state.show(db, STORE)
    return known if known.state == wanted else None


async def test_a_pause_and_the_spent_commits_outlive_the_archiver(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    hub.create(REPO)
    await add_photo(db, wakeup)
    hub.faults.order("commit", Fault(status=429, headers={"Retry-After": "1800"}))
    async with at_work(settings()):
        await until(lambda: shown_as(db, "throttled"))

    async with at_work(settings(), boot=8) as second:
        await until(lambda: second._pace._paused_until_s)
        saved = second._pace.bucket.saved(now_s=0) if second._pace.bucket else None

    assert hub.requests["commit"] == 1
    assert saved is not None
    assert saved < 8


async def test_the_archiver_keeps_to_its_commits_of_the_hour_and_says_so(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    async with at_work(settings(HYPERION_HUB_BURST="1", HYPERION_HUB_LINGER_S="0")):
        await add_photo(db, wakeup)
        await until(lambda: are_equal(db, hub))
        await add_photo(db, wakeup)
        known = await until(lambda: shown_as(db, "throttled"))

    assert "120 commits an hour" in str(known.detail)
    assert hub.requests["commit"] == 1


async def test_the_state_is_ready_again_once_something_was_taken(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    hub.create(REPO)
    hub.faults.order("commit", faults.BROKEN_BEFORE, faults.LOST_AFTER)
    await add_photo(db, wakeup)

    async with at_work(settings()):
        await until(lambda: are_equal(db, hub))
        await until(lambda: shown_as(db, "ready"))

    assert not committed_twice(hub)


async def test_a_stopping_archiver_settles_the_commit_that_is_under_way(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    hub.create(REPO)
    hub.commit_s = 0.5
    await add_photo(db, wakeup)

    async with at_work(settings()):
        await until(hub._committing.locked)

    assert await statuses(db) == {"UPLOADED": 1}
    assert await are_equal(db, hub)


async def test_a_commit_that_outlasts_the_archiver_is_unknown_and_not_repeated(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    hub.create(REPO)
    hub.commit_s = 1.0
    await add_photo(db, wakeup)
    async with at_work(settings(HYPERION_HUB_STOP_S="0")):
        await until(hub._committing.locked)

    assert await statuses(db) == {"PENDING": 1}
    assert (await state.load(db, STORE, late_s=100)).doubt_s > 50
    async with at_work(settings(), boot=8):
        await until(lambda: are_equal(db, hub))

    assert not committed_twice(hub)


async def test_after_a_life_that_ended_in_doubt_the_next_commit_is_tied_to_the_head_it_saw(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    repository = hub.create(REPO)
    await state.load(db, STORE, late_s=1)
    await state.begin_commit(db, STORE, interval_s=1)
    hub.faults.order("commit", faults.held_until(lambda: len(repository.commits) > 1))
    await add_photo(db, wakeup)

    async with at_work(settings()):
        await until(lambda: hub.requests["commit"] == 1)
        repository.commits.append(Commit("f" * 40, "the one that was in doubt", "", (), ()))
        await until(lambda: are_equal(db, hub))

    assert hub.requests["commit"] == 2


async def test_photos_of_the_local_store_are_moved_and_can_be_read_all_the_while(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    local = LocalStore(settings().store_dir)
    contents = {await add_photo(db, wakeup): None for _ in range(6)}
    local_settings = Settings(**{**vars(settings()), "hf_repo_id": "", "hf_token": ""})
    async with at_work(local_settings):
        await until(lambda: statuses_are(db, {"UPLOADED": len(contents)}))
    gone, *_ = contents
    progress: list[tuple[int, int]] = []

    async with at_work(settings(), boot=8) as archiver:
        await delete(db, wakeup, gone)
        moved = await move(db, wakeup, local, at_once=2, on_progress=lambda *done: progress.append(done))
        again = await move(db, wakeup, local, at_once=2, on_progress=lambda *done: None)
        await until(lambda: are_equal(db, hub))
        paths = [row["store_path"] for row in await db.fetch("SELECT store_path FROM media")]
        for path in paths:
            async with archiver._store.local_copy(path) as copy:
                assert copy.read_bytes() == hub.repository(REPO).read(path)

    assert moved in (5, 6)
    assert again == 0
    assert progress[-1] == (moved, moved)
    assert not list(local.paths())


async def test_an_archiver_that_dies_is_never_held_against_the_photos(db: Database, wakeup: Wakeup) -> None:
    media_id = await add_photo(db, wakeup)

    for boot in range(10):
        leases = await queue.Claimer(db, lane="archive", boot=boot, lease_s=60).claim(10)
        assert [lease.item for lease in leases] == [media_id]
        await recovery.rescue_boots(db, wakeup, [boot], who="archiver", max_crashes=3)

    assert await statuses(db) == {"PENDING": 1}


async def test_a_thousand_photos_take_at_most_twelve_commits_of_the_hour(
    db: Database, hub: Hub, settings: Boot
) -> None:
    hub.commits_per_hour = 120
    await db.execute(
        "INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path)"
        " SELECT gen_random_uuid(), 'u1', 'a.jpg', 'image/jpeg', 40, 1, 1, 'PENDING', 'media/u1/d/' || n || '_a.jpg'"
        " FROM generate_series(1, 1000) AS n"
    )
    await db.execute("INSERT INTO media_blob SELECT id, 0, sha256(id::text::bytea) FROM media")
    await db.execute("INSERT INTO task (lane, kind, payload, item) SELECT 'archive', 'archive', '{}', id FROM media")
    await db.execute("INSERT INTO task_ready (lane, seq, task_id) SELECT 'archive', nextval('task_seq'), id FROM task")

    async with at_work(Settings(**{**vars(settings()), "hub_xet": True})):
        await until(lambda: statuses_are(db, {"UPLOADED": 1000}), within_s=60, every_s=0.2)

    assert await are_equal(db, hub)
    assert len(hub.repository(REPO).commits) - 1 <= 12
    assert not committed_twice(hub)
