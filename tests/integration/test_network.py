"""A network that loses what it carries: listeners that hear nothing, commits whose answer never comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from hyperion import queue
from hyperion.db import Connection, Database
from hyperion.errors import CommitUncertain, LeaseLost
from hyperion.queue import Claimer, NewTask, Wakeup
from tests.chaos.proxy import Proxy
from tests.until import until

CHANNEL = "hyperion_lane_test"


@pytest.fixture
async def remote(database_url: str, proxy: Proxy) -> AsyncIterator[Database]:
    """A pool on the same fresh database, behind the network."""
    async with Database(proxy.url(database_url), name="remote", max_connections=4) as remote:
        yield remote


class KeepingLast(Database):
    """A pool that remembers which connection it opened last outside the pool."""

    last: Connection

    async def connect(self, *, durable: bool = True) -> Connection:
        self.last = await super().connect(durable=durable)
        return self.last


async def test_a_listener_whose_connection_is_half_open_finds_out_and_looks_again(
    remote: Database, proxy: Proxy, wakeup: Wakeup
) -> None:
    listener = Wakeup(remote, self_test_s=0.3, self_test_limit_s=0.3)
    bell = listener.bell(CHANNEL)
    running = asyncio.create_task(listener.run())
    await bell.wait(10)

    proxy.strand(server_learns_after_s=0.1)

    assert await bell.wait(10) == {""}
    wakeup.ring(CHANNEL, "hello")
    assert await bell.wait(10) == {"hello"}
    await _end(running)


async def test_a_listener_that_is_deaf_is_found_out_however_much_it_rings(database_url: str) -> None:
    db = KeepingLast(database_url, name="deaf")
    async with db:
        listener = Wakeup(db, self_test_s=0.3, self_test_limit_s=0.3)
        bell = listener.bell(CHANNEL)
        running = asyncio.create_task(listener.run())
        await bell.wait(10)
        await db.last.execute("UNLISTEN *")  # as by a pooler that gives every statement another session

        async def heard() -> set[str]:
            listener.ring("hyperion_elsewhere")
            return await bell.wait(0.02)

        assert await until(heard) == {""}
        await _end(running)


async def test_a_finish_whose_commit_was_never_answered_is_done_once(
    remote: Database, proxy: Proxy, db: Database
) -> None:
    await db.execute("CREATE TABLE result (task_id bigint)")
    async with db.transaction() as connection:
        await queue.enqueue(connection, [NewTask(lane="test", kind="noop")])
    [lease] = await Claimer(db, lane="test", boot=1, lease_s=60).claim(1)

    async def finish() -> None:
        async with remote.transaction() as connection:
            await queue.finish(connection, [lease])
            await connection.execute("INSERT INTO result VALUES ($1)", lease.task_id)

    proxy.lose_answers_to(b"COMMIT;")
    with pytest.raises(CommitUncertain):
        await finish()
    proxy.lose_answers_to(b"")

    await until(lambda: _is_finished(db))
    with pytest.raises(LeaseLost):
        await finish()
    assert await db.fetch_value("SELECT count(*) FROM result") == 1


async def _is_finished(db: Database) -> bool:
    return await queue.depths(db) == {}


async def _end(running: asyncio.Task[None]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
