"""Celery on a Redis of its own: a prefork worker of concurrency ten, no result backend."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import redis
from billiard import current_process  # type: ignore[import-untyped]
from celery import Celery as CeleryApp  # type: ignore[import-untyped]
from celery.signals import worker_process_init, worker_ready  # type: ignore[import-untyped]

from benchmarks.queue.board import Slot
from benchmarks.queue.server import Server
from benchmarks.queue.system import WORKERS, Enqueuer, NotHere, System, Worker

BOARD = "BENCH_BOARD"
BROKER = "BENCH_BROKER"
QUEUE = "celery"
_PARENT_SLOT = WORKERS

app = CeleryApp("bench", broker=os.environ.get(BROKER))
_slots: list[Slot] = []


@app.task(name="noop", ignore_result=True)  # type: ignore[untyped-decorator]
def noop() -> None:
    """Count on the board."""
    for slot in _slots:
        slot.started()
        slot.done()


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _take_slot(**_signal: Any) -> None:
    _slots[:] = [Slot(Path(os.environ[BOARD]), current_process().index)]


@worker_ready.connect  # type: ignore[untyped-decorator]
def _say_ready(**_signal: Any) -> None:
    Slot(Path(os.environ[BOARD]), _PARENT_SLOT).ready()


class CeleryEnqueuer(Enqueuer):
    """`send_task`, the only way in; the broker connection is kept."""

    def __init__(self, client: CeleryApp) -> None:
        self._client = client

    async def bulk(self, count: int) -> None:
        """Publish one by one: Celery has no other way."""
        await self.single(count)

    async def single(self, count: int) -> None:
        """Publish one by one."""
        await asyncio.to_thread(self._publish, count)

    def _publish(self, count: int) -> None:
        with self._client.producer_pool.acquire(block=True) as producer:
            for _ in range(count):
                self._client.send_task("noop", producer=producer)


class Celery(System):
    """One Celery worker with ten child processes. The URL that is passed around is the broker's."""

    name = "celery"
    uses_postgres = False

    async def prepare(self, server: Server) -> None:
        """Look for redis-server."""
        if not shutil.which("redis-server"):
            raise NotHere("there is no redis-server")

    @contextmanager
    def fresh(self, server: Server) -> Iterator[str]:
        """Start a Redis with its default persistence on a unix socket."""
        program = shutil.which("redis-server")
        assert program
        with tempfile.TemporaryDirectory(prefix="hyperion-bench-redis-") as folder:
            socket = f"{folder}/redis.sock"
            options = ["--port", "0", "--unixsocket", socket, "--dir", folder]
            process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
            try:
                _await_redis(socket)
                yield f"redis+socket://{socket}"
            finally:
                process.terminate()
                process.wait()

    @asynccontextmanager
    async def enqueuer(self, url: str) -> AsyncIterator[Enqueuer]:
        """Open a client."""
        with CeleryApp("client", broker=url, set_as_current=False) as client:
            yield CeleryEnqueuer(client)

    def workers(self, url: str, board: Path, *, patient: bool) -> list[Worker]:
        """Describe `celery worker`; it does not wait for the word, but is timed from its first task on."""
        options = ["worker", "--concurrency", str(WORKERS), "--loglevel", "ERROR"]
        command = [sys.executable, "-m", "celery", "-A", __name__, *options]
        return [Worker(command, {**os.environ, BOARD: str(board), BROKER: url, "PYTHONWARNINGS": "ignore"})]

    async def is_settled(self, url: str) -> bool:
        """Look at the list and at what was delivered and not acknowledged."""
        with redis.Redis(unix_socket_path=url.partition("://")[2]) as client:
            return not client.llen(QUEUE) and not client.hlen("unacked")


def _await_redis(socket: str) -> None:
    for _ in range(500):
        try:
            with redis.Redis(unix_socket_path=socket) as client:
                client.ping()
        except redis.ConnectionError:
            time.sleep(0.01)
        else:
            return
    raise NotHere("redis-server did not answer")
