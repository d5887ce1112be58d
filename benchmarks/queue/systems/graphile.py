"""graphile-worker, in node: with its defaults, and tuned for throughput as its documentation says."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.queue.server import Server
from benchmarks.queue.system import BULK, ROOT, WORKERS, Enqueuer, NotHere, Stuck, System, Worker, is_empty

SCRIPT = Path(__file__).with_suffix(".mjs")
DEFAULTS = {"concurrentJobs": WORKERS, "maxPoolSize": WORKERS + 2}
TUNED = {
    "concurrentJobs": 24,
    "maxPoolSize": 26,
    "localQueue": {"size": 500},
    "completeJobBatchDelay": 0,
    "failJobBatchDelay": 0,
}


class GraphileEnqueuer(Enqueuer):
    """A node process that calls `addJob` and `addJobs`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def bulk(self, count: int) -> None:
        """Add a thousand a call."""
        await self._say(f"bulk {count}")

    async def single(self, count: int) -> None:
        """Add one a call."""
        await self._say(f"single {count}")

    async def answered(self) -> None:
        """Wait until the last order is carried out."""
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != b"ok\n":
            raise Stuck("graphile-worker's enqueuer failed")

    async def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self.answered()


class Graphile(System):
    """One node process; `options` are those of its preset."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self._options = options

    async def prepare(self, server: Server) -> None:
        """Run its migrations."""
        if not (ROOT / "benchmarks" / "node_modules" / "graphile-worker").exists():
            raise NotHere("graphile-worker is not installed (npm install in benchmarks/)")
        template = server.template(self.name.replace("-", "_"))
        process = await asyncio.create_subprocess_exec(*_node("migrate", template))
        if await process.wait():
            raise NotHere("graphile-worker's migrations failed")

    @asynccontextmanager
    async def enqueuer(self, url: str) -> AsyncIterator[Enqueuer]:
        """Start the node process that adds jobs."""
        process = await asyncio.create_subprocess_exec(
            *_node("enqueue", url, str(BULK)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        enqueuer = GraphileEnqueuer(process)
        try:
            await enqueuer.answered()
            yield enqueuer
        finally:
            process.kill()
            await process.wait()

    def workers(self, url: str, board: Path, *, patient: bool) -> list[Worker]:
        """Describe the one process; patient or not, it waits for more."""
        mode = "patient" if patient else "drain"
        return [Worker(_node("work", url, str(board), mode, json.dumps(self._options)))]

    async def is_settled(self, url: str) -> bool:
        """Look at the jobs table, which jobs leave when they are done."""
        return await is_empty(url, "SELECT FROM graphile_worker._private_jobs")


def _node(*arguments: str) -> list[str]:
    node = shutil.which("node")
    if not node:
        raise NotHere("there is no node")
    return [node, str(SCRIPT), *arguments]
