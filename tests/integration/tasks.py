"""Tasks for tests of the queue: put in, taken, finished, rescued; and who listens for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hyperion import queue
from hyperion.db import Database
from hyperion.queue import Claimer, Lease, NewTask, Wakeup

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


@asynccontextmanager
async def running(wakeup: Wakeup) -> AsyncIterator[Wakeup]:
    task = asyncio.create_task(wakeup.run())
    yield wakeup
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
