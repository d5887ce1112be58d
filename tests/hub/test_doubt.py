"""Commits of which nobody knows the end, and archivers that no longer lead: nothing comes back, nothing is mixed up."""

import asyncio

import pytest

from hyperion import queue
from hyperion.db import Database
from hyperion.media.store import state
from hyperion.queue import Wakeup
from tests.hub import faults
from tests.hub.archive import (
    add_photo,
    add_user,
    are_equal,
    at_work,
    committed_twice,
    delete,
    depose,
    statuses,
    statuses_are,
)
from tests.hub.conftest import REPO, Boot
from tests.hub.server import Hub
from tests.until import until

STORE = f"hub:{REPO}"


@pytest.fixture(autouse=True)
async def _user(db: Database, hub: Hub) -> None:
    await add_user(db)
    hub.create(REPO)


async def promote(db: Database) -> None:
    """Do what the reaper does every second."""
    while True:
        await queue.promote_due(db)
        await asyncio.sleep(0.05)


async def test_a_commit_that_comes_after_its_photo_was_deleted_does_not_bring_it_back(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    photo = await add_photo(db, wakeup)
    may_land = asyncio.Event()
    hub.faults.order("commit", faults.held_until(may_land.is_set))
    patient = {"HYPERION_HUB_TIMEOUT_S": "0.5", "HYPERION_HUB_LATE_S": "2"}
    promoting = asyncio.create_task(promote(db))

    async with at_work(settings(**patient)):
        await until(lambda: hub.requests["commit"])
        await delete(db, wakeup, photo)
        await until(lambda: hub.requests["paths_info"])
        was_there_at_first_look = bool(hub.repository(REPO).files)
        may_land.set()
        await until(lambda: hub.repository(REPO).files)
        await until(lambda: are_equal(db, hub))
    promoting.cancel()

    assert not was_there_at_first_look
    assert not hub.repository(REPO).files


async def test_a_doubt_outlives_the_archivers_that_come_and_go_while_it_lasts(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    await state.load(db, STORE, late_s=0)
    await state.begin_commit(db, STORE, interval_s=1)  # by an archiver that is killed then
    patient = settings(HYPERION_HUB_LATE_S="100")

    photo = await add_photo(db, wakeup)
    async with at_work(patient):
        await until(lambda: are_equal(db, hub))
    async with at_work(patient, boot=8):
        await delete(db, wakeup, photo)
        await until(lambda: not hub.repository(REPO).files)
        again = await until(lambda: db.fetch_row("SELECT error FROM task_scheduled"))

    assert "bring it back" in again["error"]


async def test_tasks_that_need_no_commit_say_nothing_about_the_one_in_doubt(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    gone = await add_photo(db, wakeup)
    async with at_work(settings()) as archiver:
        await until(lambda: are_equal(db, hub))
        await state.begin_commit(db, STORE, interval_s=1)
        await db.execute("INSERT INTO task (lane, kind, payload, item) VALUES ('archive', 'archive', '{}', $1)", gone)
        await db.execute("DELETE FROM media")
        await db.execute("INSERT INTO task_ready SELECT 'archive', nextval('task_seq'), max(id) FROM task")
        archiver.wakeup.ring("hyperion_lane_archive")
        await until(lambda: no_tasks(db))

    assert (await state.load(db, STORE, late_s=100)).doubt_s > 50


async def no_tasks(db: Database) -> bool:
    query = "SELECT (SELECT count(*) FROM task_ready WHERE lane = 'archive') + (SELECT count(*) FROM task_lease)"
    return bool(await db.fetch_value(query) == 0)


async def test_a_commit_that_its_deposed_archiver_gave_up_reads_nothing_of_the_next_batch(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    """HEIC photos go into the commit itself, read at the last moment."""
    gone = await add_photo(db, wakeup, name="a.heic")
    hub.faults.order("preupload", faults.slow(2))
    promoting = asyncio.create_task(promote(db))

    async with at_work(settings(HYPERION_HUB_STOP_S="0")):
        await until(lambda: hub.requests["preupload"])
        await add_photo(db, wakeup, name="a.heic")
        await delete(db, wakeup, gone)
        await depose(db)
        await until(lambda: are_equal(db, hub))
    promoting.cancel()

    assert not any(str(gone) in path for commit in hub.repository(REPO).commits for path in commit.added)
    assert not committed_twice(hub)


async def test_a_new_leader_begins_while_the_old_ones_commit_is_under_way(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    """On two nodes: the first commit lands between the question and the commit of the second."""
    await add_photo(db, wakeup)
    empty = hub.repository(REPO).head
    hub.faults.order(
        "commit",
        faults.held_until(lambda: hub.requests["commit"] > 1),
        faults.held_until(lambda: hub.repository(REPO).head != empty),
    )

    async with at_work(settings(HYPERION_HUB_STOP_S="0", HYPERION_VAR=str(settings().var_dir / "first"))):
        await until(lambda: hub.requests["commit"])
        async with at_work(settings(), boot=8):
            await depose(db)
            await add_photo(db, wakeup)
            await until(lambda: are_equal(db, hub))

    assert await statuses(db) == {"UPLOADED": 2}
    assert not committed_twice(hub)


async def test_a_photo_that_is_deleted_while_its_commit_is_under_way_is_removed_after_it(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    hub.commit_s = 0.5
    photo = await add_photo(db, wakeup)

    async with at_work(settings()):
        await until(hub._committing.locked)
        await delete(db, wakeup, photo)
        await until(lambda: are_equal(db, hub))

    assert [len(commit.added) - len(commit.deleted) for commit in hub.repository(REPO).commits] == [0, 1, -1]


async def test_what_a_killed_archiver_left_in_its_spool_goes_when_the_next_begins(db: Database, settings: Boot) -> None:
    leftover = settings().var_dir / "spool" / "Archiver.batch" / "tmp123" / "0"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half a photo")

    async with at_work(settings()):
        await until(lambda: not leftover.exists())


async def test_a_spool_that_takes_nothing_is_no_photos_fault(
    db: Database, wakeup: Wakeup, hub: Hub, settings: Boot
) -> None:
    await add_photo(db, wakeup)
    var = settings().var_dir
    var.mkdir(exist_ok=True)
    (var / "spool").write_bytes(b"a file in its place")

    async with at_work(settings(HYPERION_MAX_ATTEMPTS="1")):
        shown = await until(lambda: shown_as_away(db))
        (var / "spool").unlink()
        await until(lambda: statuses_are(db, {"UPLOADED": 1}))

    assert "spool" in shown


async def shown_as_away(db: Database) -> str | None:
    known = await state.show(db, STORE)
    return known.detail if known.state == "away" else None
