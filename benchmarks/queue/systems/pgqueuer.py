"""pgqueuer: ten processes, each with an asyncpg connection and a batch size."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.queue.board import Slot
from benchmarks.queue.server import Server
from benchmarks.queue.system import BULK, WORKERS, Enqueuer, System, Worker, is_empty, python_worker

ENTRYPOINT = "noop"


class PgqueuerEnqueuer(Enqueuer):
    """`Queries.enqueue` on one connection, of many jobs or of one."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def bulk(self, count: int) -> None:
        """Enqueue a thousand a call."""
        for start in range(0, count, BULK):
            size = min(BULK, count - start)
            await self._queries.enqueue([ENTRYPOINT] * size, [None] * size, [0] * size)

    async def single(self, count: int) -> None:
        """Enqueue one a call."""
        for _ in range(count):
            await self._queries.enqueue(ENTRYPOINT, None)


class Pgqueuer(System):
    """Ten worker processes with a batch size of `claim`."""

    name = "pgqueuer"

    def __init__(self, claim: int) -> None:
        self.claim = claim

    async def prepare(self, server: Server) -> None:
        """Install the schema with its default durability."""
        connection = await asyncpg.connect(server.template(self.name))
        await Queries.from_asyncpg_connection(connection).install()
        await connection.close()

    @asynccontextmanager
    async def enqueuer(self, url: str) -> AsyncIterator[Enqueuer]:
        """Open a client."""
        connection = await asyncpg.connect(url)
        yield PgqueuerEnqueuer(Queries.from_asyncpg_connection(connection))
        await connection.close()

    def workers(self, url: str, board: Path, *, patient: bool) -> list[Worker]:
        """Describe ten processes; patient or not, they wait for more."""
        mode = "patient" if patient else "drain"
        return [python_worker(__name__, url, board, number, self.claim, mode) for number in range(WORKERS)]

    async def is_settled(self, url: str) -> bool:
        """Look at the queue table, which jobs leave when they are done."""
        return await is_empty(url, "SELECT FROM pgqueuer")


async def work(url: str, board: str, number: int, claim: int, mode: str) -> None:
    """Be one worker."""
    slot = Slot(Path(board), number)
    queuer = PgQueuer.from_asyncpg_connection(await asyncpg.connect(url))

    @queuer.entrypoint(ENTRYPOINT)
    async def noop(_job: Job) -> None:
        slot.started()
        slot.done()

    slot.ready()
    if mode == "drain":
        sys.stdin.readline()
    await queuer.run(batch_size=claim)


if __name__ == "__main__":
    _, url, board, number, claim, mode = sys.argv
    uvloop.run(work(url, board, int(number), int(claim), mode))
