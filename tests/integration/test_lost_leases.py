"""Leases whose holder fell silent, forgot them or never got to know of them."""

from datetime import timedelta

import pytest

from hyperion import queue
from hyperion.db import Database
from tests.integration.tasks import LANE, claimer, names, put, take


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
