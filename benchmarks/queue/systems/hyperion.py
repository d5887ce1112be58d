"""Hyperion: ten processes, each a Claimer and a Finisher; claims overlap with finishes."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from benchmarks.queue.board import Slot
from benchmarks.queue.server import Server
from benchmarks.queue.system import BULK, WORKERS, Enqueuer, System, Worker, is_empty, python_worker
from hyperion.db import Database, migrations
from hyperion.queue import Claimer, Finisher, Lease, NewTask, Wakeup, enqueue, lane_channel

LANE = "bench"
LEASE_S = 60
STAGGER_S = 0.0005  # as hyperion.actors.claiming does
POLL_S = 1.0 * WORKERS / 2  # as the workers do: all together they look twice a second
NOOP = NewTask(lane=LANE, kind="noop")


class HyperionEnqueuer(Enqueuer):
    """`enqueue` on one connection, and the bell after the commit."""

    def __init__(self, db: Database, wakeup: Wakeup) -> None:
        self._db = db
        self._wakeup = wakeup

    async def bulk(self, count: int) -> None:
        """Enqueue a thousand a statement."""
        for start in range(0, count, BULK):
            async with self._db.transaction() as connection:
                await enqueue(connection, [NOOP] * min(BULK, count - start))
            self._wakeup.ring(lane_channel(LANE))

    async def single(self, count: int) -> None:
        """Enqueue one a statement; a statement by itself is a transaction."""
        for _ in range(count):
            async with self._db.connection() as connection:
                await enqueue(connection, [NOOP])
            self._wakeup.ring(lane_channel(LANE))


class Hyperion(System):
    """Ten worker processes that claim `claim` at a time."""

    name = "hyperion"

    def __init__(self, claim: int) -> None:
        self.claim = claim

    async def prepare(self, server: Server) -> None:
        """Bring the template to the current schema."""
        await asyncio.to_thread(migrations.apply, server.template(self.name))

    @asynccontextmanager
    async def enqueuer(self, url: str) -> AsyncIterator[Enqueuer]:
        """Open a client with a wake-up connection."""
        async with Database(url, name="bench enqueuer", max_connections=2) as db:
            wakeup = Wakeup(db)
            running = asyncio.create_task(wakeup.run())
            try:
                yield HyperionEnqueuer(db, wakeup)
            finally:
                running.cancel()

    def workers(self, url: str, board: Path, *, patient: bool) -> list[Worker]:
        """Describe ten processes; the boot ids are their numbers."""
        mode = "patient" if patient else "drain"
        return [python_worker(__name__, url, board, number, self.claim, mode) for number in range(WORKERS)]

    async def is_settled(self, url: str) -> bool:
        """Look for ready tasks and for leases."""
        return await is_empty(url, "SELECT FROM task_ready", "SELECT FROM task_lease")


class Work:
    """One worker: claim, handle, hand over to the finisher, claim again."""

    def __init__(self, db: Database, slot: Slot, *, boot: int, claim: int) -> None:
        self._slot = slot
        self._limit = claim
        self.claimer = Claimer(db, lane=LANE, boot=boot, lease_s=LEASE_S)
        self.finisher = Finisher(db, on_settled=self._settled)

    def _settled(self, leases: Sequence[Lease]) -> None:
        self.claimer.forget(leases)
        self._slot.done(len(leases))

    async def drain(self) -> None:
        """Work until a claim comes back empty and all is finished."""
        while leases := await self.claimer.claim(self._limit):
            for lease in leases:
                await self._handle(lease)
            self.finisher.add(leases)
        await self.finisher.drained()

    async def _handle(self, _lease: Lease) -> None:
        self._slot.started()


async def work(url: str, board: str, number: int, claim: int, mode: str) -> None:
    """Be one worker: a drain for every line on stdin, or, patient, for every stroke of the bell."""
    slot = Slot(Path(board), number)
    name = f"bench {number}"
    async with Database(url, name=name, max_connections=2, index_plans=True) as db:
        worker = Work(db, slot, boot=number + 1, claim=claim)
        wakeup = Wakeup(db)
        bell = wakeup.bell(lane_channel(LANE))
        finishing = asyncio.create_task(worker.finisher.run())
        await worker.claimer.claim(0)  # opens its connection and prepares the statement
        if mode == "drain":
            slot.ready()
            while sys.stdin.readline():  # blocks on purpose: there is nothing else to do
                await worker.drain()
        else:
            listening = asyncio.create_task(wakeup.run())
            await bell.wait(10)  # the first stroke says that it listens
            slot.ready()
            while not listening.done():
                await worker.drain()
                if await bell.wait(POLL_S * random.uniform(0.75, 1.25)):
                    await asyncio.sleep(number * STAGGER_S)
        finishing.cancel()


if __name__ == "__main__":
    _, url, board, number, claim, mode = sys.argv
    uvloop.run(work(url, board, int(number), int(claim), mode))
