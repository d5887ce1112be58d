"""Photos whose actors died, tasks were lost or attempts failed come back, or fail with a reason."""

import asyncio
from uuid import UUID

import pytest

from hyperion.actors.reaper import Reaper
from hyperion.db import Database
from hyperion.media import photos, recovery
from hyperion.media.status import Status
from hyperion.media.transaction import photo_transaction
from hyperion.queue import Wakeup
from hyperion.settings import Settings
from tests.integration.media import add_photo, add_user, age, claim, life, status_of, store
from tests.until import until


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
