"""Bells: what a transaction rings is heard after its commit, and what was lost is looked for."""

from collections.abc import Callable

import asyncpg
import pytest

from hyperion import queue
from hyperion.db import Database
from hyperion.errors import CommitUncertain
from hyperion.queue import Wakeup
from tests.chaos.proxy import Proxy
from tests.integration.tasks import LANE, running
from tests.until import until

CHANNEL = "hyperion_test"
LONG_S = 10


async def test_a_ring_wakes_a_bell_on_another_connection(db: Database) -> None:
    sender, listener = Wakeup(db), Wakeup(db)
    bell = listener.bell(CHANNEL)
    async with running(sender), running(listener):
        assert await bell.wait(LONG_S) == {""}  # being connected is worth a look

        sender.ring(CHANNEL, "x")
        sender.ring(CHANNEL, "it's")

        heard = await bell.wait(LONG_S)
        while heard != {"x", "it's"}:
            heard |= await bell.wait(LONG_S)


async def test_a_listener_whose_connection_is_cut_comes_back_and_looks_again(
    db: Database, make_database: Callable[[], str]
) -> None:
    async with Database(make_database(), name="victim") as other:
        listener = Wakeup(other)
        bell = listener.bell(CHANNEL)
        async with running(listener):
            await bell.wait(LONG_S)

            await db.fetch_value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'hyperion victim'"
            )

            assert await bell.wait(LONG_S) == {""}


async def test_what_a_transaction_rings_is_heard_after_its_commit_each_time(db: Database, wakeup: Wakeup) -> None:
    listener = Wakeup(db)
    bell = listener.bell(CHANNEL)
    async with running(listener):
        await bell.wait(LONG_S)
        for payload in ("the first", "one that follows within milliseconds", "and another"):
            async with wakeup.transaction(db) as (_, rings):
                rings.channel(CHANNEL, payload)

        heard: set[str] = set()
        while len(heard) < 3:
            heard |= await bell.wait(LONG_S) or {"nothing any more"}
    assert heard == {"the first", "one that follows within milliseconds", "and another"}


async def test_a_transaction_that_fails_rings_nothing(db: Database, wakeup: Wakeup) -> None:
    listener = Wakeup(db)
    bell = listener.bell(CHANNEL)
    async with running(listener):
        await bell.wait(LONG_S)
        with pytest.raises(ZeroDivisionError):
            async with wakeup.transaction(db) as (_, rings):
                rings.channel(CHANNEL, "what did not happen")
                raise ZeroDivisionError
        async with wakeup.transaction(db) as (_, rings):
            rings.channel(CHANNEL, "what did")

        assert await bell.wait(LONG_S) == {"what did"}


async def test_a_commit_stands_when_what_follows_it_fails(db: Database) -> None:
    await db.execute("CREATE TABLE result (x integer)")

    with pytest.raises(CommitUncertain):
        async with db.transaction(then=lambda: "SELECT repeat('x', 2000000000);") as connection:
            await connection.execute("INSERT INTO result VALUES (1)")

    assert await db.fetch_value("SELECT count(*) FROM result") == 1


async def test_a_transaction_whose_statement_failed_unnoticed_is_not_taken_for_committed(
    db: Database, wakeup: Wakeup
) -> None:
    listener = Wakeup(db)
    bell = listener.bell(CHANNEL)
    async with running(listener):
        await bell.wait(LONG_S)
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            async with wakeup.transaction(db) as (connection, rings):
                rings.channel(CHANNEL, "what did not happen")
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await connection.execute("SELECT 1 / 0")
        async with wakeup.transaction(db) as (_, rings):
            rings.channel(CHANNEL, "what did")

        assert await bell.wait(LONG_S) == {"what did"}


async def test_what_was_to_be_gathered_is_rung_although_the_answer_to_the_commit_is_lost(
    db: Database, database_url: str, proxy: Proxy
) -> None:
    listener = Wakeup(db)
    bell = listener.bell(CHANNEL)
    async with Database(proxy.url(database_url), name="remote") as remote, running(listener):
        wakeup = Wakeup(remote)
        await bell.wait(LONG_S)
        async with wakeup.transaction(remote) as (_, rings):
            rings.channel(CHANNEL, "before")
        assert await bell.wait(LONG_S) == {"before"}

        wakeup._sent_at_s = float("inf")  # within milliseconds, however slow this machine is
        proxy.lose_answers_to(b"COMMIT;")
        with pytest.raises(CommitUncertain):
            async with wakeup.transaction(remote) as (_, rings):
                rings.channel(CHANNEL, "what may have happened")
        proxy.lose_answers_to(b"")

        async with running(wakeup):
            assert await bell.wait(LONG_S) == {"what may have happened"}


async def test_a_full_queue_of_notifications_ends_no_process(db: Database) -> None:
    definition = await db.fetch_value("SELECT pg_get_functiondef('task_wake'::regproc)")
    await db.execute(
        "CREATE OR REPLACE FUNCTION task_wake(wanted text, tasks integer) RETURNS void LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE program_limit_exceeded; END $$"
    )
    wakeup = Wakeup(db)
    bell = wakeup.bell(CHANNEL)
    async with running(wakeup):
        await bell.wait(LONG_S)
        wakeup.ring_lane(LANE)
        assert await bell.wait(LONG_S) == {""}  # it was refused, and connects anew

        await db.execute(definition)

        await wakeup.flush(timeout_s=LONG_S)
        assert not wakeup._to_send


async def test_a_ring_waits_neither_for_the_disk_nor_under_the_lock_of_the_business_commit(
    db: Database, wakeup: Wakeup
) -> None:
    seen: list[str] = []
    async with db.transaction(then=lambda: "SELECT set_config('a.b', current_setting('synchronous_commit'), false);"):
        pass
    rings = queue.Rings()
    rings.channel(CHANNEL)

    async with db.transaction(
        then=lambda: rings.statements() + "SELECT set_config('a.c', current_setting('synchronous_commit'), false);"
    ):
        pass

    async with db.connection() as connection:
        for name in ("a.b", "a.c", "synchronous_commit"):
            seen.append(await connection.fetchval("SELECT current_setting($1)", name))
    assert seen == ["on", "off", "on"]


async def test_who_hears_anothers_echo_asks_for_none_itself(db: Database) -> None:
    askers: list[int] = []
    witness = await db.connect()
    await witness.add_listener("hyperion_echo", lambda _connection, pid, *_: askers.append(pid))
    quick = Wakeup(db, self_test_s=0.1)
    slow = Wakeup(db, self_test_s=0.5)

    async with running(quick), running(slow):
        await until(lambda: len(askers) == 12)
    await witness.close()

    assert askers.count(max(askers, key=askers.count)) >= 11  # one is left for a machine that stood still
    assert (quick.connected, slow.connected) == (1, 1)
