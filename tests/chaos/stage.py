"""What the faults are played on: a Postgres, the proxy before it, and a tree that is kept running."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil

from hyperion.actors.specs import plan
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.settings import load
from tests.chaos.proxy import Proxy, socket_of
from tests.lifecycle.tree import Tree
from tests.until import until

# The defaults, about ten times as fast; what bounds something keeps its distance to what it bounds.
SETTINGS = {
    "HYPERION_WORKERS": "5",
    "HYPERION_DETECTOR": "simulated",
    "HYPERION_SIMULATED_EXTRACTION_S": "0.2",
    "HYPERION_SIMULATED_PROCESSING_S": "0.5",
    "HYPERION_HEARTBEAT_S": "0.4",
    "HYPERION_SILENCE_S": "3",
    "HYPERION_OFFLINE_S": "12",
    "HYPERION_LEASE_S": "6",
    "HYPERION_RESCUE_S": "0.5",
    "HYPERION_PARK_S": "6",
    "HYPERION_POLL_S": "0.2",
    "HYPERION_REAP_S": "3",
    "HYPERION_PENDING_LIMIT_S": "15",
    "HYPERION_UPLOADED_LIMIT_S": "10",
    "HYPERION_SAMPLE_S": "1",
    "HYPERION_GRACE_S": "4",
}
ROLE = "hyperion"
DATABASE = "chaos"
ROLE_CONNECTIONS = 60  # a node with five workers has 56 at most
START_LIMIT_S = 60
# Asked to end, killed before it could listen to that, no database, the name or the port still taken.
LEGAL_EXITS = {0, 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL, 69, 78}
STOP_MARGIN_S = 4.0


class Stage:
    """The system under test. `complaints` are things that it should never have done."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres, proxy: Proxy) -> None:
        self.postgres = postgres
        self.proxy = proxy
        self.url = postgres.url(DATABASE)
        self.complaints: list[str] = []
        self.restart_pause_s = 0.2
        self.postgres_lock = asyncio.Lock()
        through_proxy = f"postgresql://{ROLE}@127.0.0.1:{proxy.port}/{DATABASE}"
        self.tree = Tree(through_proxy, folder, dev=False, **SETTINGS)
        self.settings = load(self.tree.environ)
        self.store = self.settings.store_dir
        self._asked_to_stop_at_s: float | None = None

    @property
    def expected_actors(self) -> set[str]:
        """What the processes of a complete tree call themselves."""
        actors = {f"{spec.kind} {spec.name}" for tier in plan(self.settings) for spec in tier}
        return actors | {"fork server"}

    def processes(self) -> dict[str, int]:
        """Map what the tree's processes call themselves to their ids; empty without a supervisor."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return {} if self.tree.has_ended else self.tree.processes()
        return {}

    def everybody(self) -> list[psutil.Process]:
        """List all processes that the tree ever left behind, by the folder that they work in."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self.tree.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    async def connect(self, role: str = "postgres") -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection past the proxy."""
        return await asyncpg.connect(self.url, user=role, timeout=10)

    async def restart_postgres(self, *, immediate: bool, down_s: float) -> None:
        """Stop Postgres, as in a crash if `immediate`, and start it again."""
        async with self.postgres_lock:
            await asyncio.to_thread(self.postgres.stop, immediate=immediate)
            await asyncio.sleep(down_s)
            self.postgres.start()  # from the main thread, whose death ends it

    async def keep_running(self) -> None:
        """Start the supervisor again whenever it ends, as a service manager would, until cancelled."""
        while True:
            if self.tree.has_ended:
                self._judge_exit(await self.tree.exit_code())
                await asyncio.sleep(self.restart_pause_s)
                self.tree.launch()
            await asyncio.sleep(0.02)

    def signal_supervisor(self, number: signal.Signals) -> None:
        """Send the supervisor a signal, if there is one just now."""
        if self.tree.has_ended:
            return
        if number == signal.SIGTERM and self._asked_to_stop_at_s is None:
            self._asked_to_stop_at_s = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.tree.signal(number)

    async def stop(self) -> int:
        """End the tree with SIGTERM; return the exit code."""
        self.signal_supervisor(signal.SIGTERM)
        code = await self.tree.exit_code(within_s=self.settings.grace_s + 3 * STOP_MARGIN_S)
        self._judge_exit(code)
        return code

    def resume_all(self) -> None:
        """Let everything run that was stopped."""
        for pid in self.processes().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _judge_exit(self, code: int) -> None:
        asked_at_s, self._asked_to_stop_at_s = self._asked_to_stop_at_s, None
        if code not in LEGAL_EXITS:
            self.complaints.append(f"the supervisor ended with exit code {code}")
        took_s = time.monotonic() - asked_at_s if asked_at_s else 0.0
        if took_s > self.settings.grace_s + STOP_MARGIN_S:
            self.complaints.append(f"the supervisor took {took_s:.1f} s to stop")


@asynccontextmanager
async def open_stage(folder: Path, *, binaries: Path | None = None) -> AsyncIterator[Stage]:
    """Start Postgres, the proxy and a complete tree; leave nothing of it behind."""
    work = folder / "node"
    work.mkdir()
    postgres = EmbeddedPostgres(folder / "server", binaries=binaries, durable=False)
    postgres.start()
    proxy = Proxy(socket_of(postgres))
    try:
        await _create_database(postgres)
        await proxy.start()
        stage = Stage(work, postgres, proxy)
        try:
            stage.tree.launch()
            await until(lambda: stage.tree.has_ended or stage.tree.events("node.started"), within_s=START_LIMIT_S)
            assert not stage.tree.has_ended, (stage.tree.lines, stage.tree.noise)
            yield stage
        finally:
            stage.resume_all()
            stage.tree.close()
    finally:
        await proxy.stop()
        await asyncio.to_thread(postgres.stop, immediate=True)


async def _create_database(postgres: EmbeddedPostgres) -> None:
    """Give the tree a role that is no superuser, so that its number of connections can be limited."""
    connection = await asyncpg.connect(postgres.url())
    try:
        await connection.execute(f"CREATE ROLE {ROLE} LOGIN CONNECTION LIMIT {ROLE_CONNECTIONS}")
        await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
    finally:
        await connection.close()
