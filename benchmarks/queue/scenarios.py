"""The measurements, each the same for every system."""

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.queue.board import Board
from benchmarks.queue.server import Server, old_snapshot
from benchmarks.queue.system import Crew, Enqueuer, Stuck, System

_POLL_S = 0.001
_FAR_POLL_S = 0.01  # to look each millisecond takes 6 % of a core from those who are measured
_PAUSE_S = 0.5
_DRAIN_LIMIT_S = 180.0
_PICKUP_LIMIT_S = 20.0
_PICKUP_SKIPPED = 5
_COST_PAIRS = 4


@dataclass(frozen=True)
class Measured:
    """One value of one round."""

    scenario: str
    value: float
    unit: str


@dataclass(frozen=True)
class Drained:
    """How long a drain took, from the first handler's start until all was settled, and its cost."""

    tasks: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds of the server per thousand tasks."""
        return self.cpu_s * 1000 / self.tasks


class Session:
    """A crew at work on one queue."""

    def __init__(self, server: Server, system: System, url: str, crew: Crew, board: Board) -> None:
        self._server = server
        self._system = system
        self._url = url
        self._crew = crew
        self._board = board
        self._expected = 0

    async def drain(self, tasks: int, *, of: int = 0) -> Drained:
        """Let the crew go and time `tasks`, the first ones `of` so many; wait until all are settled."""
        goal, self._expected = self._expected + tasks, self._expected + max(of, tasks)
        cpu_before_s = self._server.cpu_s()
        self._crew.go()
        await self._until_done(goal, _DRAIN_LIMIT_S)
        ended_ns = time.monotonic_ns()
        if goal == self._expected and not await self._is_settled():
            await self._until_settled()
            ended_ns = time.monotonic_ns()
        cpu_s = self._server.cpu_s() - cpu_before_s
        drained = Drained(tasks, (ended_ns - self._board.first_started_ns) / 1e9, cpu_s)
        await self._until_done(self._expected, _DRAIN_LIMIT_S)
        await self._until_settled()
        return drained

    async def rest(self) -> None:
        """Wait until every worker has seen that there is nothing left, and begin a new measurement."""
        await asyncio.sleep(_PAUSE_S)
        self._board.forget_starts()

    async def pickup_ms(self, enqueuer: Enqueuer) -> float:
        """Enqueue one task; return the time from its commit to its handler's start."""
        self._expected += 1
        committed_ns = await enqueuer.one()
        await self._until_done(self._expected, _PICKUP_LIMIT_S)
        await asyncio.sleep(random.uniform(0.01, 0.03))
        return (self._board.last_started_ns - committed_ns) / 1e6

    async def _until_done(self, goal: int, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        near = (goal - self._board.done) // 10
        while (left := goal - self._board.done) > 0:
            self._crew.check()
            if time.monotonic() > deadline:
                raise Stuck(f"{self._system.label}: {left} tasks are not done after {limit_s:.0f} s")
            await asyncio.sleep(_POLL_S if left <= near else _FAR_POLL_S)

    async def _until_settled(self) -> None:
        deadline = time.monotonic() + _DRAIN_LIMIT_S
        while not await self._is_settled():
            if time.monotonic() > deadline:
                raise Stuck(f"{self._system.label}: something stays unsettled")
            await asyncio.sleep(_POLL_S)

    async def _is_settled(self) -> bool:
        return await self._system.is_settled(self._url)


class Bench:
    """Everything that a measurement needs besides the system."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._numbers = itertools.count()

    async def drain(self, system: System, tasks: int, *, held: bool = False) -> list[Measured]:
        """Enqueue `tasks` and measure that, then drain them, beside an old snapshot if `held`."""
        with system.fresh(self._server) as url, ExitStack() as stack:
            async with system.enqueuer(url) as enqueuer:
                started = time.monotonic()
                await enqueuer.bulk(tasks)
                enqueue_s = time.monotonic() - started
            await self._settle_down(system, url)
            async with self._session(system, url) as session:
                if held:
                    stack.enter_context(old_snapshot(url))
                drained = await session.drain(tasks)
        if held:
            return [Measured("drain_held", drained.rate, "tasks/s")]
        measured = [
            Measured("drain", drained.rate, "tasks/s"),
            Measured("enqueue_bulk", tasks / enqueue_s, "tasks/s"),
        ]
        if system.uses_postgres:
            measured.append(Measured("cpu_per_1000", drained.cpu_per_1000, "s"))
        return measured

    async def enqueue_single(self, system: System, tasks: int) -> list[Measured]:
        """Enqueue one after the other, each in a transaction of its own."""
        with system.fresh(self._server) as url:
            async with system.enqueuer(url) as enqueuer:
                await enqueuer.single(10)
                started = time.monotonic()
                await enqueuer.single(tasks)
                taken_s = time.monotonic() - started
        return [Measured("enqueue_single", tasks / taken_s, "tasks/s")]

    async def pickup(self, system: System, samples: int) -> list[Measured]:
        """From the moment the enqueuer knows of its commit to the handler's start, nothing else going on."""
        with system.fresh(self._server) as url:
            async with system.enqueuer(url) as enqueuer, self._session(system, url, patient=True) as session:
                await asyncio.sleep(_PAUSE_S)
                waits_ms = [await session.pickup_ms(enqueuer) for _ in range(samples + _PICKUP_SKIPPED)]
        waits_ms = waits_ms[_PICKUP_SKIPPED:]
        percentiles = statistics.quantiles(waits_ms, n=100, method="inclusive")
        return [
            Measured("pickup_p50", percentiles[49], "ms"),
            Measured("pickup_p99", percentiles[98], "ms"),
        ]

    async def backlog(self, system: System, tasks: int) -> list[Measured]:
        """Compare a small with a big backlog in one database, and what a task costs in a young and in an old one.

        In the old one: ten drains of `tasks`/10, then a backlog of 10 x `tasks`, of which the first `tasks` are timed
        and all are drained. In the young one: `tasks`. Then drains of `tasks` in both, either first in turn.
        """
        async with self._place(system) as young, self._place(system) as old:
            small = [await old(tasks // 10, tasks // 10) for _ in range(10)]
            big = await old(tasks * 10, tasks)
            await young(tasks, tasks)
            costs: list[Measured] = []
            places = [("after_1e5", young), ("after_1e6", old)]
            for _ in range(_COST_PAIRS):
                for when, fill_and_drain in places:
                    costs += _cost(await fill_and_drain(tasks, tasks), when)
                places.reverse()
        small_rate = sum(drain.tasks for drain in small) / sum(drain.seconds for drain in small)
        return [
            Measured("drain_backlog_1e4", small_rate, "tasks/s"),
            Measured("drain_backlog", big.rate, "tasks/s"),
            *costs,
        ]

    @asynccontextmanager
    async def _place(self, system: System) -> AsyncIterator[Callable[[int, int], Awaitable[Drained]]]:
        """Open a database with workers; yield what enqueues so many there and times the drain of the first so many."""
        with system.fresh(self._server) as url:
            async with system.enqueuer(url) as enqueuer, self._session(system, url) as session:

                async def fill_and_drain(backlog: int, tasks: int) -> Drained:
                    await session.rest()
                    await enqueuer.bulk(backlog)
                    await self._settle_down(system, url)
                    return await session.drain(tasks, of=backlog)

                yield fill_and_drain

    @asynccontextmanager
    async def _session(self, system: System, url: str, *, patient: bool = False) -> AsyncIterator[Session]:
        board = Board(self._folder / f"board-{next(self._numbers)}")
        try:
            async with system.start_workers(url, board, patient=patient) as crew:
                yield Session(self._server, system, url, crew, board)
        finally:
            board.close()

    async def _settle_down(self, system: System, url: str) -> None:
        if system.uses_postgres:
            await asyncio.to_thread(self._server.settle_down, url)


def _cost(drain: Drained, when: str) -> list[Measured]:
    return [
        Measured(f"cost_{when}", 1e6 / drain.rate, "us/task"),
        Measured(f"cpu_per_1000_{when}", drain.cpu_per_1000, "s"),
    ]
