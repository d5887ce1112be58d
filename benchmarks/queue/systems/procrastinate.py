"""procrastinate: one async worker of concurrency ten."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from procrastinate import App, PsycopgConnector
from procrastinate.tasks import Task

from benchmarks.queue.board import Slot
from benchmarks.queue.server import Server
from benchmarks.queue.system import BULK, WORKERS, Enqueuer, System, Worker, is_empty, python_worker

CONNECTIONS = WORKERS + 2


class ProcrastinateEnqueuer(Enqueuer):
    """`defer_async` and `batch_defer_async`."""

    def __init__(self, task: Task[Any, Any, Any]) -> None:
        self._task = task

    async def bulk(self, count: int) -> None:
        """Defer a thousand a call."""
        for start in range(0, count, BULK):
            await self._task.batch_defer_async(*[{}] * min(BULK, count - start))

    async def single(self, count: int) -> None:
        """Defer one a call."""
        for _ in range(count):
            await self._task.defer_async()


class Procrastinate(System):
    """One worker process with ten jobs at a time, each fetched by itself."""

    name = "procrastinate"

    async def prepare(self, server: Server) -> None:
        """Apply the schema."""
        async with _app(server.template(self.name)).open_async() as app:
            await app.schema_manager.apply_schema_async()

    @asynccontextmanager
    async def enqueuer(self, url: str) -> AsyncIterator[Enqueuer]:
        """Open a client."""
        app = _app(url)
        task = _register(app, None)
        async with app.open_async():
            yield ProcrastinateEnqueuer(task)

    def workers(self, url: str, board: Path, *, patient: bool) -> list[Worker]:
        """Describe the one process; patient or not, it waits for more."""
        return [python_worker(__name__, url, board, "patient" if patient else "drain")]

    async def is_settled(self, url: str) -> bool:
        """Look for jobs that are not done."""
        return await is_empty(url, "SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")


def _app(url: str) -> App:
    return App(connector=PsycopgConnector(conninfo=url, max_size=CONNECTIONS))


def _register(app: App, slot: Slot | None) -> Task[Any, Any, Any]:
    @app.task(name="noop")
    async def noop() -> None:
        if slot:
            slot.started()
            slot.done()

    return noop


async def work(url: str, board: str, mode: str) -> None:
    """Be the worker."""
    slot = Slot(Path(board), 0)
    app = _app(url)
    _register(app, slot)
    async with app.open_async():
        slot.ready()
        if mode == "drain":
            sys.stdin.readline()
        await app.run_worker_async(concurrency=WORKERS)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)  # it warns of apps in __main__, whose tasks could lose their names
    uvloop.run(work(*sys.argv[1:]))
