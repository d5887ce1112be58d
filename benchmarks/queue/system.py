"""What a queue must offer to be measured, and the worker processes that all have in common."""

import asyncio
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.queue.board import Board
from benchmarks.queue.server import Server

WORKERS = 10
BULK = 1000
ROOT = Path(__file__).parents[2]
_READY_WAIT_S = 60
_POLL_S = 0.001


class NotHere(Exception):
    """A system cannot be measured on this machine; the message says what is missing."""


class Stuck(Exception):
    """A system did not come to its end in time."""


class Enqueuer(ABC):
    """One client that puts no-op tasks in, through the system's public API."""

    @abstractmethod
    async def bulk(self, count: int) -> None:
        """Enqueue `count` tasks in the fastest way that the API has, at most `BULK` a transaction."""

    @abstractmethod
    async def single(self, count: int) -> None:
        """Enqueue `count` tasks one after the other, each committed by itself."""

    async def one(self) -> int:
        """Enqueue one task; return when its commit was known (monotonic, ns)."""
        await self.single(1)
        return time.monotonic_ns()


@dataclass(frozen=True)
class Worker:
    """One worker process. It counts on the board, waits for a line on its stdin, and then works."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class System(ABC):
    """A queue in one configuration. `claim` is how many tasks it takes at a time, where it says so."""

    name: str
    claim: int | None = None
    uses_postgres = True

    @property
    def label(self) -> str:
        """What the table calls it."""
        return self.name if self.claim is None else f"{self.name} {self.claim}"

    @abstractmethod
    async def prepare(self, server: Server) -> None:
        """Make the template database. Raises NotHere."""

    @contextmanager
    def fresh(self, server: Server) -> Iterator[str]:
        """Yield the URL of an empty queue."""
        with server.fresh(self.name.replace("-", "_")) as url:
            yield url

    @abstractmethod
    def enqueuer(self, url: str) -> AbstractAsyncContextManager[Enqueuer]:
        """Open a client."""

    @abstractmethod
    def workers(self, url: str, board: Path, *, patient: bool) -> list[Worker]:
        """Describe the worker processes. `patient` ones wait for more tasks when there are none."""

    @abstractmethod
    async def is_settled(self, url: str) -> bool:
        """Tell whether nothing waits and nothing is unfinished."""

    def start_workers(self, url: str, board: Board, *, patient: bool) -> AbstractAsyncContextManager["Crew"]:
        """Start the worker processes and wait until all are ready; end them afterwards."""
        return _crew(self.workers(url, board.path, patient=patient), board)


class Crew:
    """The worker processes of one measurement."""

    def __init__(self, processes: Sequence["subprocess.Popen[str]"]) -> None:
        self._processes = processes

    def go(self) -> None:
        """Let everybody work."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def check(self) -> None:
        """Raise Stuck where a worker has failed."""
        for process in self._processes:
            if process.poll():
                raise Stuck(f"a worker ended with exit code {process.returncode}")

    def stop(self) -> None:
        """End every worker."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()


@asynccontextmanager
async def _crew(workers: Sequence[Worker], board: Board) -> AsyncIterator[Crew]:
    processes: list[subprocess.Popen[str]] = []
    crew = Crew(processes)
    try:
        for worker in workers:
            processes.append(
                subprocess.Popen(  # noqa: ASYNC220
                    worker.command,
                    cwd=ROOT,
                    env=worker.environment or None,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                )
            )
        deadline = time.monotonic() + _READY_WAIT_S
        while board.ready < len(workers):
            crew.check()
            if time.monotonic() > deadline:
                raise Stuck(f"only {board.ready} of {len(workers)} workers became ready")
            await asyncio.sleep(_POLL_S * 10)
        yield crew
    finally:
        crew.stop()


def python_worker(module: str, *arguments: object) -> Worker:
    """Describe a worker that is a module of ours."""
    return Worker([sys.executable, "-m", module, *map(str, arguments)])


async def is_empty(url: str, *conditions: str) -> bool:
    """Tell whether none of the SELECTs has a row."""
    query = "SELECT " + " AND ".join(f"NOT EXISTS ({condition})" for condition in conditions)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
    return bool(row and row[0])
