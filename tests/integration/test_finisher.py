"""A finisher settles many tasks at once, whatever happens to them and to its connection."""

import asyncio

from hyperion import queue
from hyperion.db import Database
from hyperion.queue import Finisher, Lease
from tests.integration.tasks import claimer, names, put, take
from tests.until import until


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
