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
from hyperion.queue import Claimer, Finisher, Idler, Lease, NewTask, Wakeup, enqueue

LANE = "bench"
LEASE_S = 60
POLL_S = 1.0 * WORKERS / 2  # as the workers do: all together they look twice a second
NOOP = NewTask(lane=LANE, kind="noop")


class HyperionEnqueuer(Enqueuer):
    """`enqueue` in a transaction, whose commit rings the bell."""

    def __init__(self, db: Database, wakeup: Wakeup) -> None:
        self._db = db
        self._wakeup = wakeup

    async def bulk(self, count: int) -> None:
        """Enqueue a thousand a statement."""
        for start in range(0, count, BULK):
            await self._enqueue(min(BULK, count - start))

    async def single(self, count: int) -> None:
        """Enqueue one a transaction."""
        for _ in range(count):
            await self._enqueue(1)

    async def _enqueue(self, tasks: int) -> None:
        async with self._wakeup.transaction(self._db) as (connection, rings):
            await enqueue(connection, [NOOP] * tasks)
            rings.lane(LANE, tasks)


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

    def __init__(self, db: Database, wakeup: Wakeup, slot: Slot, *, boot: int, claim: int) -> None:
        self._slot = slot
        self._limit = claim
        self.claimer = Claimer(db, lane=LANE, boot=boot, lease_s=LEASE_S)
        self.idler = Idler(wakeup, self.claimer)
        self.finisher = Finisher(db, on_settled=self._settled)

    def _settled(self, leases: Sequence[Lease]) -> None:
        self.claimer.forget(leases)
        self._slot.done(len(leases))

    async def drain(self) -> None:
        """Work until a claim comes back empty and all is finished."""
        while leases := await self.claimer.claim(self._limit):
            await self._handle_all(leases)
        await self.finisher.drained()

    async def serve(self) -> None:
        """Work on whatever comes, for ever."""
        while True:
            while leases := await self.idler.claim(self._limit):
                await self._handle_all(leases)
                await self.finisher.drained()
            await self.idler.wait(POLL_S * random.uniform(0.75, 1.25))

    async def _handle_all(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            await self._handle(lease)
        self.finisher.add(leases)

    async def _handle(self, _lease: Lease) -> None:
        self._slot.started()


async def work(url: str, board: str, number: int, claim: int, mode: str) -> None:
    """Be one worker: a drain for every line on stdin, or, patient, for every stroke of the bell."""
    slot = Slot(Path(board), number)
    name = f"bench {number}"
    async with Database(url, name=name, max_connections=2, index_plans=True) as db:
        wakeup = Wakeup(db)
        worker = Work(db, wakeup, slot, boot=number + 1, claim=claim)
        finishing = asyncio.create_task(worker.finisher.run())
        await worker.claimer.claim(0)  # opens its connection and plans the statement
        await worker.finisher.open()
        if mode == "drain":
            slot.ready()
            while sys.stdin.readline():  # blocks on purpose: there is nothing else to do
                await worker.drain()
        else:
            listening = asyncio.create_task(wakeup.run())
            await worker.idler.wait(10)  # the first stroke says that it listens
            slot.ready()
            await worker.serve()
            listening.cancel()
        finishing.cancel()


if __name__ == "__main__":
    _, url, board, number, claim, mode = sys.argv
    uvloop.run(work(url, board, int(number), int(claim), mode))
