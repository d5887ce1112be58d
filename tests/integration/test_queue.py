"""The queue's promises: first in first out, fenced, at least once, nothing lost."""

import asyncio
from uuid import uuid4

import pytest

from hyperion import queue
from hyperion.db import Database
from hyperion.errors import LeaseLost
from hyperion.queue import Claimer, Lease, NewTask
from tests.integration.tasks import LANE, claimer, finish, names, put, rescue, take
from tests.until import until


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


async def test_of_two_claims_of_a_task_in_one_batch_the_newer_is_finished(db: Database) -> None:
    await put(db, "before", "a", "after")
    before, first, after = await take(db, limit=3)
    async with db.transaction() as connection:
        await queue.hand_back(connection, [first])
    [second] = await take(db)

    async with db.transaction() as connection:
        done = await queue.settled(connection, [after, second, first, before])

    assert done == {before.task_id, second.task_id, after.task_id}


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

    claimed = [name for _ in range(3) for name in names(await mine.claim(1))]

    assert sorted(claimed) == ["late", "next"]


async def run_ahead(db: Database, mine: Claimer) -> list[str]:
    """Have one claimer take far less than the others, so that it expects them to go on like this."""
    others = claimer(db, boot=2)
    await put(db, *(str(n) for n in range(12)))
    return names([*await mine.claim(2), *await others.claim(6), *await mine.claim(2)])


async def test_who_takes_many_begins_where_the_line_has_got_to_since(db: Database) -> None:
    mine = claimer(db)
    await run_ahead(db, mine)
    await put(db, *(str(n) for n in range(12, 20)))

    assert names(await mine.claim(2)) == ["16", "17"]


async def test_what_was_jumped_over_is_taken_once_there_is_nothing_further_on(db: Database) -> None:
    mine = claimer(db)
    taken = await run_ahead(db, mine)
    await put(db, *(str(n) for n in range(12, 20)))

    while leases := await mine.claim(2):
        taken += names(leases)

    assert sorted(taken, key=int) == [str(n) for n in range(20)]


async def test_what_was_jumped_over_is_taken_however_much_comes_after_it(db: Database) -> None:
    mine = claimer(db)
    await run_ahead(db, mine)
    await put(db, *(str(n) for n in range(12, 20)))

    async def takes_the_lowest() -> bool:
        await put(db, *["new"] * 20)
        return "10" in names(await mine.claim(2))

    await until(takes_the_lowest, within_s=5)


async def test_what_was_jumped_over_is_taken_after_a_few_jumps_however_long_the_line_is(db: Database) -> None:
    mine = claimer(db)
    await run_ahead(db, mine)
    await put(db, *(str(n) for n in range(12, 400)))

    taken = [name for _ in range(6) for name in names(await mine.claim(2))]

    assert "10" in taken


async def test_who_is_alone_takes_all_in_their_order(db: Database) -> None:
    mine, taken = claimer(db), []
    await put(db, *(str(n) for n in range(12)))

    while leases := await mine.claim(3):
        taken += names(leases)

    assert taken == [str(n) for n in range(12)]


async def test_who_takes_one_at_a_time_never_jumps(db: Database) -> None:
    mine, others = claimer(db), claimer(db, boot=2)
    await put(db, *(str(n) for n in range(12)))
    await mine.claim(1)
    await others.claim(3)
    await mine.claim(1)

    assert names(await mine.claim(1)) == ["5"]


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
