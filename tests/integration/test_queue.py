"""The queue's promises: first in first out, fenced, at least once, nothing lost."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from hyperion import queue
from hyperion.db import Database
from hyperion.errors import LeaseLost
from hyperion.queue import Claimer, Finisher, Lease, NewTask
from tests.until import until

LANE = "test"


async def put(db: Database, *names: str, lane: str = LANE) -> list[int]:
    async with db.transaction() as connection:
        return await queue.enqueue(connection, [NewTask(lane=lane, kind="noop", payload={"name": n}) for n in names])


def claimer(db: Database, boot: int = 1, *, lease_s: float = 60) -> Claimer:
    return Claimer(db, lane=LANE, boot=boot, lease_s=lease_s)


def names(leases: list[Lease]) -> list[str]:
    return [lease.payload["name"] for lease in leases]


async def take(db: Database, boot: int = 1, *, limit: int = 1) -> list[Lease]:
    return await claimer(db, boot).claim(limit)


async def finish(db: Database, lease: Lease) -> None:
    async with db.transaction() as connection:
        await queue.finish(connection, [lease])


async def rescue(db: Database, boot: int, *, max_crashes: int = 3) -> list[queue.Rescued]:
    async with db.transaction() as connection:
        return await queue.rescue_boots(connection, [boot], max_crashes=max_crashes, reason="it died")


async def test_tasks_come_out_in_the_order_they_went_in(db: Database) -> None:
    await put(db, "a", "b")
    await put(db, "c")

    claimed = await take(db, limit=10)

    assert names(claimed) == ["a", "b", "c"]


async def test_a_lane_holds_only_its_own_tasks(db: Database) -> None:
    await put(db, "mine")
    await put(db, "other", lane="elsewhere")

    claimed = await take(db, limit=10)

    assert names(claimed) == ["mine"]


async def test_what_is_rolled_back_was_never_queued(db: Database) -> None:
    with pytest.raises(RuntimeError, match="no"):
        async with db.transaction() as connection:
            await queue.enqueue(connection, [NewTask(lane=LANE, kind="noop")])
            raise RuntimeError("no")

    assert await take(db) == []


async def test_many_claimers_never_share_a_task(db: Database) -> None:
    await put(db, *(str(n) for n in range(500)))

    async def drain(boot: int) -> list[Lease]:
        mine, claims = claimer(db, boot), []
        while leases := await mine.claim(7):
            claims += leases
        return claims

    claimed = [lease for leases in await asyncio.gather(*(drain(boot) for boot in range(8))) for lease in leases]

    assert sorted(int(name) for name in names(claimed)) == list(range(500))


async def test_a_finished_task_is_gone(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db)

    await finish(db, lease)

    assert await queue.depths(db) == {}


async def test_a_finish_after_a_rescue_is_refused_and_its_writes_are_void(db: Database) -> None:
    await put(db, "a")
    [late] = await take(db, boot=1)
    await rescue(db, 1)
    [current] = await take(db, boot=2)

    with pytest.raises(LeaseLost):
        async with db.transaction() as connection:
            await connection.execute("INSERT INTO message (recipient, verb) VALUES ('late', 'pause')")
            await queue.finish(connection, [late])

    assert await db.fetch_value("SELECT count(*) FROM message") == 0
    await finish(db, current)


async def test_an_older_claim_of_the_same_process_is_fenced_too(db: Database) -> None:
    await put(db, "a")
    [first] = await take(db, boot=1)
    async with db.transaction() as connection:
        await queue.hand_back(connection, [first])
    [second] = await take(db, boot=1)

    with pytest.raises(LeaseLost):
        await finish(db, first)

    await finish(db, second)


async def test_holding_a_lease_keeps_a_rescue_away_until_the_commit(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db, boot=1)

    async with db.transaction() as connection:
        await queue.hold(connection, lease)
        rescued = await rescue(db, 1)
        await queue.finish(connection, [lease])

    assert rescued == []
    assert await queue.depths(db) == {}


async def test_holding_a_lost_lease_fails(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db, boot=1)
    await rescue(db, 1)

    with pytest.raises(LeaseLost):
        async with db.transaction() as connection:
            await queue.hold(connection, lease)


async def test_a_rescued_task_keeps_its_place_in_the_line(db: Database) -> None:
    await put(db, "first", "second")
    await take(db, boot=1)

    await rescue(db, 1)

    assert names(await take(db, boot=2, limit=2)) == ["first", "second"]


async def test_a_busy_claimer_sees_a_lower_number_that_commits_later(db: Database) -> None:
    mine = claimer(db)
    async with db.transaction() as slow:
        await queue.enqueue(slow, [NewTask(lane=LANE, kind="noop", payload={"name": "late"})])
        await put(db, "early", "next")
        assert names(await mine.claim(1)) == ["early"]

    claimed = names(await mine.claim(1)) + names(await mine.claim(1))

    assert sorted(claimed) == ["late", "next"]


async def test_a_task_whose_workers_crash_is_dead_after_three(db: Database) -> None:
    [task_id] = await put(db, "poison")

    for boot in (1, 2, 3):
        assert len(await take(db, boot)) == 1
        [rescued] = await rescue(db, boot)

    assert rescued.is_dead
    [dead] = await queue.list_dead(db)
    assert (dead.task_id, dead.crashes, dead.error) == (task_id, 3, "it died")


async def test_crashes_do_not_use_up_attempts(db: Database) -> None:
    await put(db, "a")
    await take(db, boot=1)
    await rescue(db, 1)

    [lease] = await take(db, boot=2)

    assert (lease.attempt, lease.crashes) == (1, 1)


async def test_handing_back_counts_neither_as_attempt_nor_as_crash(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db)
    async with db.transaction() as connection:
        assert await queue.hand_back(connection, [lease]) == {lease.task_id}

    [again] = await take(db)

    assert (again.attempt, again.crashes, again.seq) == (1, 0, lease.seq)


async def test_a_failed_attempt_waits_and_counts(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db)

    async with db.transaction() as connection:
        retry = await queue.fail(connection, lease, error="broken", max_attempts=5, delay_s=0)

    assert (retry.is_dead, await take(db)) == (False, [])
    assert await queue.promote_due(db) == {LANE: 1}
    assert [lease.attempt for lease in await take(db)] == [2]


async def test_the_last_attempt_leaves_a_dead_task_with_its_error(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db)

    async with db.transaction() as connection:
        retry = await queue.fail(connection, lease, error="broken", max_attempts=1)

    assert retry.is_dead
    assert [dead.error for dead in await queue.list_dead(db)] == ["broken"]


async def test_a_dead_task_comes_back_with_all_its_attempts(db: Database) -> None:
    [task_id] = await put(db, "a")
    [lease] = await take(db)
    async with db.transaction() as connection:
        await queue.fail(connection, lease, error="broken", max_attempts=1)

    async with db.transaction() as connection:
        revived = await queue.revive(connection, [task_id])

    assert [task.task_id for task in revived] == [task_id]
    assert [(lease.attempt, lease.crashes) for lease in await take(db)] == [(1, 0)]


async def test_what_is_scheduled_for_later_stays(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db)
    async with db.transaction() as connection:
        await queue.fail(connection, lease, error="broken", max_attempts=5, delay_s=3600)

    assert await queue.promote_due(db) == {}
    assert await queue.depths(db) == {(LANE, "scheduled"): 1}


async def lost(db: Database, *, silent_s: float = 120) -> list[queue.Rescued]:
    async with db.transaction() as connection:
        return await queue.rescue_lost(connection, silent_s=silent_s, max_crashes=3, reason="silent")


async def be_actor(db: Database, boot: int, *, silent: timedelta = timedelta()) -> None:
    await db.execute(
        "INSERT INTO actor (node, name, label, kind, boot, pid, state, beat_at)"
        " VALUES ('n', $1, $1, 'worker', $2, 1, 'ready', now() - $3::interval)",
        f"actor{boot}",
        boot,
        silent,
    )


async def test_a_lease_of_a_living_actor_is_not_lost(db: Database) -> None:
    await be_actor(db, 1)
    await put(db, "a")
    await take(db, boot=1)

    assert await lost(db) == []


async def test_a_lease_past_its_deadline_is_lost_though_its_actor_beats(db: Database) -> None:
    await be_actor(db, 1)
    await put(db, "a")
    await claimer(db, 1, lease_s=0).claim(1)

    assert len(await lost(db)) == 1


async def test_renewing_moves_the_deadline(db: Database) -> None:
    await be_actor(db, 1)
    await put(db, "a")
    mine = claimer(db, 1, lease_s=60)
    await mine.claim(1)
    await db.execute("UPDATE task_lease SET deadline_at = now() - interval '1 s'")

    await mine.renew()

    assert await lost(db) == []


async def test_a_forgotten_lease_is_not_renewed(db: Database) -> None:
    await be_actor(db, 1)
    await put(db, "a")
    mine = claimer(db, 1, lease_s=60)
    mine.forget(await mine.claim(1))
    await db.execute("UPDATE task_lease SET deadline_at = now() - interval '1 s'")

    await mine.renew()

    assert len(await lost(db)) == 1


@pytest.mark.parametrize("silent", [timedelta(seconds=121), None], ids=["silent", "no row"])
async def test_a_lease_of_an_actor_that_is_silent_or_replaced_is_lost(db: Database, silent: timedelta | None) -> None:
    if silent:
        await be_actor(db, 1, silent=silent)
    await put(db, "a")
    await take(db, boot=1)

    assert len(await lost(db)) == 1


async def test_a_claim_whose_answer_was_lost_is_put_back_by_the_next(db: Database) -> None:
    await put(db, "a", "b")
    mine = claimer(db, 1)
    [held] = await mine.claim(1)
    await db.fetch(queue.tasks.SQL.claim, LANE, 0, 1, 1, 60.0)  # taken, and nobody was told
    mine.doubt()

    claimed = await mine.claim(10)

    assert (names([held]), names(claimed)) == (["a"], ["b"])


async def test_leases_that_could_not_be_handed_back_are_put_back_by_the_next_claim(db: Database) -> None:
    await put(db, "a")
    mine = claimer(db)
    leases = await mine.claim(1)
    mine.forget(leases)
    mine.doubt()

    [again] = await mine.claim(1)

    assert (again.task_id, again.attempt, again.crashes) == (leases[0].task_id, 1, 0)


async def test_finished_tasks_are_purged_and_living_ones_stay(db: Database) -> None:
    await put(db, "done", "running", "waiting")
    done, _ = await take(db, limit=2)
    await finish(db, done)

    purged = await queue.purge_finished(db, older_than_s=0, batch=1)

    assert purged == 1
    assert await db.fetch_value("SELECT count(*) FROM task") == 2


async def test_an_item_is_alive_while_its_task_waits_or_runs(db: Database) -> None:
    item = uuid4()
    async with db.transaction() as connection:
        await queue.enqueue(connection, [NewTask(lane=LANE, kind="noop", item=item)])
        waiting = await queue.is_alive(connection, item=item, lane=LANE)
    [lease] = await take(db)
    async with db.transaction() as connection:
        running = await queue.is_alive(connection, item=item, lane=LANE)
        await queue.finish(connection, [lease])
        finished = await queue.is_alive(connection, item=item, lane=LANE)

    assert (waiting, running, finished) == (True, True, False)


async def test_a_finisher_settles_whatever_is_added_while_it_is_at_work(db: Database) -> None:
    await put(db, *(str(n) for n in range(100)))
    mine = claimer(db)
    settled: list[int] = []
    finisher = Finisher(db, on_settled=lambda leases: settled.append(len(leases)))
    running = asyncio.create_task(finisher.run())

    while leases := await mine.claim(7):
        finisher.add(leases)
    await finisher.drained()

    assert (await queue.depths(db), sum(settled)) == ({}, 100)
    running.cancel()


async def test_a_finisher_tells_of_tasks_that_are_in_other_hands(db: Database) -> None:
    await put(db, "a", "b")
    leases = await take(db, limit=2)
    lost: list[Lease] = []
    async with db.transaction() as connection:
        await queue.hand_back(connection, leases[:1])
    finisher = Finisher(db, on_settled=lambda leases: None, on_lost=lost.extend)
    running = asyncio.create_task(finisher.run())

    finisher.add(leases)
    await finisher.drained()

    assert names(lost) == ["a"]
    running.cancel()


async def test_a_finisher_tries_again_when_its_connection_is_cut(db: Database) -> None:
    await put(db, "a")
    [lease] = await take(db)
    finisher = Finisher(db, on_settled=lambda leases: None)
    async with db.transaction() as holder:
        await queue.hold(holder, lease)
        running = asyncio.create_task(finisher.run())
        finisher.add([lease])
        blocked = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await until(lambda: db.fetch_value(blocked))

    await finisher.drained()

    assert await queue.depths(db) == {}
    running.cancel()
