"""Who waits for work: each task wakes one of them, and none waits while there is something to do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from hyperion import queue
from hyperion.db import Database, HeldConnection, Record
from hyperion.errors import DatabaseUnavailable
from hyperion.queue import Claimer, Idler, Lease, NewTask, Wakeup
from tests.integration.tasks import LANE, running
from tests.until import until

LONG_S = 10

MakeIdler = Callable[[int], Awaitable[Idler]]


@pytest.fixture
async def idler(db: Database) -> AsyncIterator[MakeIdler]:
    """Makes one that listens, by the number of its boot."""
    async with AsyncExitStack() as stack:

        async def make(boot: int, claimer: Claimer | None = None) -> Idler:
            wakeup = Wakeup(db)
            idler = Idler(wakeup, claimer or Claimer(db, lane=LANE, boot=boot, lease_s=60))
            await stack.enter_async_context(running(wakeup))
            await idler.wait(LONG_S)  # until it listens
            return idler

        yield make


async def put(db: Database, wakeup: Wakeup, *, tasks: int = 1, is_rung: bool = True) -> None:
    async with wakeup.transaction(db) as (connection, rings):
        await queue.enqueue(connection, [NewTask(lane=LANE, kind="noop")] * tasks)
        if is_rung:
            rings.lane(LANE, tasks)


async def waiting(db: Database) -> set[int]:
    return {row["boot"] for row in await db.fetch("SELECT boot FROM task_claimer WHERE is_idle")}


async def _count(boots: Awaitable[set[int]], wanted: int) -> bool:
    return len(await boots) == wanted


async def test_a_task_wakes_one_of_those_who_wait(db: Database, wakeup: Wakeup, idler: MakeIdler) -> None:
    crew = [await idler(boot) for boot in (1, 2, 3)]
    for one in crew:
        assert await one.claim(1) == []

    await put(db, wakeup)
    await asyncio.wait([asyncio.create_task(one.wait(LONG_S)) for one in crew], return_when=asyncio.FIRST_COMPLETED)

    assert len(await waiting(db)) == 2


async def test_as_many_are_woken_as_there_are_tasks(db: Database, wakeup: Wakeup, idler: MakeIdler) -> None:
    crew = [await idler(boot) for boot in (1, 2, 3, 4)]
    for one in crew:
        await one.claim(1)

    await put(db, wakeup, tasks=2)
    await put(db, wakeup)

    await until(lambda: _count(waiting(db), 1))
    leases = [await one.claim(1) for one in crew]
    assert sorted(map(len, leases)) == [0, 1, 1, 1]


async def test_nobody_who_is_busy_is_woken_and_he_looks_again_when_he_is_done(
    db: Database, wakeup: Wakeup, idler: MakeIdler
) -> None:
    one = await idler(1)
    await put(db, wakeup, tasks=2)

    [first] = await one.claim(1)
    assert await waiting(db) == set()
    async with db.transaction() as connection:
        await queue.finish(connection, [first])

    assert len(await one.claim(1)) == 1


class Interrupted(Claimer):
    """Somebody enqueues right after its first look, before anybody knows that it waits."""

    looks = 0

    def __init__(self, db: Database, wakeup: Wakeup) -> None:
        super().__init__(db, lane=LANE, boot=1, lease_s=60)
        self._between = partial(put, db, wakeup)

    async def claim(self, limit: int) -> list[Lease]:
        leases = await super().claim(limit)
        self.looks += 1
        if self.looks == 1:
            await self._between()
        return leases


async def test_a_task_that_comes_between_the_last_look_and_the_wait_is_found(db: Database, wakeup: Wakeup) -> None:
    one = Idler(Wakeup(db), Interrupted(db, wakeup))

    assert len(await one.claim(1)) == 1
    assert await waiting(db) == set()


async def test_who_is_woken_while_it_finds_work_by_itself_wakes_another(
    db: Database, wakeup: Wakeup, idler: MakeIdler
) -> None:
    one, other = await idler(1), await idler(2)
    await one.claim(1)
    await put(db, wakeup, is_rung=False)
    await put(db, wakeup)
    await until(lambda: _count(waiting(db), 0))
    await other.claim(0)  # waits, and the ring was not for it

    assert len(await one.claim(1)) == 1  # the one that was not rung for

    await asyncio.wait_for(other.wait(60), LONG_S)
    assert len(await other.claim(1)) == 1


async def test_who_is_paused_hands_the_wake_up_on(db: Database, wakeup: Wakeup, idler: MakeIdler) -> None:
    paused, other = await idler(1), await idler(2)
    await paused.claim(1)
    await put(db, wakeup)
    await paused.wait(LONG_S)
    await other.claim(0)

    await paused.leave()

    await asyncio.wait_for(other.wait(60), LONG_S)
    assert len(await other.claim(1)) == 1


async def test_who_is_interrupted_while_it_waits_is_still_known_to_wait(db: Database, idler: MakeIdler) -> None:
    one = await idler(1)
    await one.claim(1)

    one.interrupt()
    await asyncio.wait_for(one.wait(60), LONG_S)

    assert await waiting(db) == {1}
    await one.leave()
    assert await waiting(db) == set()


async def test_the_dead_are_not_woken(db: Database, wakeup: Wakeup, idler: MakeIdler) -> None:
    dead, lost, alive = await idler(1), await idler(2), await idler(3)
    for one in (dead, lost, alive):
        await one.claim(1)
    await db.execute(
        "INSERT INTO actor (node, name, label, kind, boot, pid, state, restarts)"
        " SELECT 'n', boot, boot, 'worker', boot, 0, 'ready', 0 FROM unnest('{1,3}'::int[]) AS b (boot)"
    )

    async with db.transaction() as connection:
        await queue.rescue_boots(connection, [1], max_crashes=3, reason="it died")
        assert await connection.fetchval("SELECT array_agg(boot ORDER BY boot) FROM task_claimer") == [2, 3]
        await queue.rescue_lost(connection, silent_s=60, max_crashes=3, reason="it fell silent")

    assert await waiting(db) == {3}


async def test_who_finds_work_after_its_connection_was_cut_is_not_known_to_wait(
    db: Database, wakeup: Wakeup, make_database: Callable[[], str]
) -> None:
    async with Database(make_database(), name="victim") as other:
        victim = Wakeup(other)
        one = Idler(victim, Claimer(db, lane=LANE, boot=1, lease_s=60))
        async with running(victim):
            await one.wait(LONG_S)
            await one.claim(1)
            assert await waiting(db) == {1}

            await put(db, wakeup, is_rung=False)
            await db.fetch_value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'hyperion victim'"
            )
            await asyncio.wait_for(one.wait(60), LONG_S)

            assert len(await one.claim(1)) == 1
    assert await waiting(db) == set()


class Deposed(Claimer):
    """Its user is cancelled as soon as it has got something."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, lane=LANE, boot=1, lease_s=60)
        self.user: asyncio.Task[list[Lease]] | None = None

    async def claim(self, limit: int) -> list[Lease]:
        leases = await super().claim(limit)
        if leases and self.user:
            self.user.cancel()
        return leases


async def test_what_is_claimed_while_the_claimer_is_cancelled_is_put_back_by_its_next_claim(db: Database) -> None:
    claimer = Deposed(db)
    one = Idler(Wakeup(db), claimer)
    await one.claim(1)
    await put(db, Wakeup(db), is_rung=False)

    claimer.user = asyncio.create_task(one.claim(1))
    with pytest.raises(asyncio.CancelledError):
        await claimer.user
    claimer.user = None

    assert len(await one.claim(1)) == 1


class Forgetful(HeldConnection):
    """Loses the answer to one statement after it took place."""

    loses = ""

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        rows = await super().fetch(query, *args)
        if self.loses and self.loses in query:
            self.loses = ""
            raise DatabaseUnavailable("the answer was lost")
        return rows


async def test_who_is_about_to_wait_looks_from_the_front_of_the_line(db: Database, wakeup: Wakeup) -> None:
    one = Idler(wakeup, Claimer(db, lane=LANE, boot=1, lease_s=60))
    async with db.transaction() as committing_late:
        await queue.enqueue(committing_late, [NewTask(lane=LANE, kind="late")])
        await put(db, wakeup, is_rung=False)
        [early] = await one.claim(1)

    [late] = await one.claim(1)

    assert (early.kind, late.kind) == ("noop", "late")


async def test_who_does_not_know_whether_it_is_known_to_wait_says_so_again(db: Database, wakeup: Wakeup) -> None:
    claimer = Claimer(db, lane=LANE, boot=1, lease_s=60)
    claimer.connection = connection = Forgetful(db, durable=False)
    one = Idler(wakeup, claimer)
    await one.claim(1)
    await put(db, wakeup, is_rung=False)

    connection.loses = "SET is_idle = false"
    [lease] = await one.claim(1)
    async with db.transaction() as transaction:
        await queue.finish(transaction, [lease])

    assert await one.claim(1) == []
    assert await waiting(db) == {1}
    connection.drop()


async def test_who_is_busy_is_not_known_to_wait_although_an_answer_was_lost(db: Database, wakeup: Wakeup) -> None:
    claimer = Claimer(db, lane=LANE, boot=1, lease_s=60)
    claimer.connection = connection = Forgetful(db, durable=False)
    one = Idler(wakeup, claimer)
    connection.loses = "INSERT INTO task_claimer"
    with pytest.raises(DatabaseUnavailable):
        await one.claim(1)
    assert await waiting(db) == {1}
    await put(db, wakeup, is_rung=False)

    assert len(await one.claim(1)) == 1

    assert await waiting(db) == set()
    connection.drop()
