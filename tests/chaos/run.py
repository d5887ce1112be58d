"""One run: start everything, let people and faults loose, wait for quiet, judge."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil

from tests.chaos import checks
from tests.chaos.clients import Person
from tests.chaos.faults import FaultLog, play
from tests.chaos.schedule import Step, make_schedule
from tests.chaos.stage import ROLE, Stage, open_stage
from tests.servers import quick_folder
from tests.until import until

PEOPLE = 3
SETTLE_LIMIT_S = 100.0  # an actor that died often in a row waits 30 s, a half-open connection 35 s
GONE_LIMIT_S = 5.0
LAST_LINES = 60


@dataclass
class Report:
    """What a run was and what it found."""

    seed: int
    minutes: float
    faults: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    log: list[dict[str, object]] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Say how it went; of a failure everything that helps to find the cause."""
        numbers = ", ".join(f"{name} {value:g}" for name, value in self.numbers.items())
        title = f"chaos: seed {self.seed}, {self.minutes:g} min: {numbers}"
        if not self.violations:
            return f"{title}: nothing violated"
        telling = [line for line in self.log if line.get("level") != "info"][-LAST_LINES:]
        tail = [msgspec.json.encode(line).decode() for line in telling]
        return "\n".join(
            [
                f"{title}: {len(self.violations)} violations",
                *(f"  {violation}" for violation in self.violations),
                "the faults, in seconds since the beginning:",
                *self.faults,
                f"the last {len(tail)} log lines above info:",
                *tail,
                "the last lines of stderr:",
                *self.noise[-LAST_LINES:],
                f"again: make chaos SEED={self.seed} MINUTES={self.minutes:g}",
            ]
        )


async def run(
    seed: int,
    *,
    minutes: float,
    first: Sequence[str] = (),
    kinds: Sequence[str] = (),
    binaries: Path | None = None,
) -> Report:
    """Torture a tree for so long with what `make_schedule` plans, and report."""
    steps = make_schedule(seed, duration_s=60 * minutes, first=first, kinds=kinds)
    report = Report(seed, minutes)
    with tempfile.TemporaryDirectory(prefix="hyperion-chaos-", dir=quick_folder()) as folder:
        async with open_stage(Path(folder).resolve(), binaries=binaries) as stage:
            async with AsyncExitStack() as stack:
                people = [
                    await stack.enter_async_context(Person(stage.tree.base, seed=seed + number, deletes=number > 0))
                    for number in range(PEOPLE)
                ]
                await _torture_and_judge(stage, people, steps, report)
            report.violations += stage.complaints
            report.log, report.noise = list(stage.tree.lines), list(stage.tree.noise)
    return report


async def _torture_and_judge(stage: Stage, people: Sequence[Person], steps: list[Step], report: Report) -> None:
    log = FaultLog()
    report.faults = log.lines
    async with _running(stage.keep_running(), *(person.watch() for person in people)):
        async with _running(*(person.live() for person in people)):
            await play(stage, steps, log)
        log.note("no more faults")
        began_s = time.monotonic()
        report.violations += await _settle(stage, people)
        report.numbers |= {"faults": len(steps), "settled after s": round(time.monotonic() - began_s, 1)}
    everybody = stage.everybody()
    code = await stage.stop()
    if code:
        report.violations.append(f"the last stop ended with exit code {code}")
    report.violations += await _leftovers(stage, everybody)
    connection = await stage.connect()
    try:
        evidence = await checks.gather(connection, people, stage.store, stage.tree)
    finally:
        await connection.close()
    report.violations += checks.violations(evidence)
    report.numbers |= _numbers(evidence)


async def _settle(stage: Stage, people: Sequence[Person]) -> list[str]:
    """Wait until all is done, everybody is back and every socket has caught up; say what never was."""
    connection = await stage.connect()
    last: dict[str, object] = {}

    async def settled() -> bool:
        left = dict(await connection.fetchrow(checks.UNSETTLED) or {})
        gone = stage.expected_actors ^ stage.processes().keys()
        unready = await connection.fetch("SELECT label, state FROM actor WHERE state <> 'ready'")
        seqs = await connection.fetch("SELECT user_id, max(seq) AS seq FROM media_log GROUP BY user_id")
        heads = {row["user_id"]: row["seq"] for row in seqs}
        behind = {person.id: person.feed.place for person in people if person.feed.place < heads.get(person.id, 0)}
        strays = await connection.fetch(checks.STRAY_LEASES)
        last.update(
            left={name: count for name, count in left.items() if count},
            gone_or_strange=sorted(gone),
            unready=[tuple(row) for row in unready],
            behind=behind,
            stray_leases=[tuple(row) for row in strays],
        )
        return not any(last.values())

    try:
        await until(settled, within_s=SETTLE_LIMIT_S, every_s=0.1)
    except AssertionError:
        return [f"not settled after {SETTLE_LIMIT_S:g} s: {name} {value}" for name, value in last.items() if value]
    finally:
        connection.terminate()
    return []


async def _leftovers(stage: Stage, everybody: list[psutil.Process]) -> list[str]:
    """Look for processes and connections that outlived the stop."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, everybody, GONE_LIMIT_S)
    found = [f"{process} outlived the stop" for process in {*alive, *stage.everybody()}]
    connection = await stage.connect()
    rows: list[object] = []

    async def none_left() -> bool:
        rows[:] = await connection.fetch(
            "SELECT application_name, state, query FROM pg_stat_activity WHERE usename = $1", ROLE
        )
        return not rows

    try:
        await until(none_left, within_s=GONE_LIMIT_S)
    except AssertionError:
        found += [f"a connection outlived the stop: {row}" for row in rows]
    finally:
        await connection.close()
    return found


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the block; where one fails, so does the block."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _numbers(evidence: checks.Evidence) -> dict[str, float]:
    memories = [person.memory for person in evidence.people]
    rescues = evidence.tree.events("reaper.worked", duty="rescue")
    return {
        "photos": sum(len(memory.photos) for memory in memories),
        "in doubt": sum(memory.doubtful_photos for memory in memories),
        "deleted": sum(len(memory.deleted) for memory in memories),
        "failed": sum(row["status"] == "FAILED" for row in evidence.photos.values()),
        "tasks": sum(len(memory.tasks) for memory in memories),
        "expired leases": sum(line["returned"] + line["dead"] for line in rescues),
        "again": sum(sum(memory.again.values()) for memory in memories),
        "frames": sum(len(person.feed.frames) for person in evidence.people),
        "sockets": sum(person.feed.sockets for person in evidence.people),
    }
