"""Run the queue benchmark: all systems in turn, again and again, and the medians at the end."""

import asyncio
import importlib
import platform
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import psutil

from benchmarks.calm import MOST_TRIES, Calm
from benchmarks.queue.report import Results
from benchmarks.queue.scenarios import Bench, Measured
from benchmarks.queue.server import Server, running_server
from benchmarks.queue.system import ROOT, NotHere, Stuck, System
from hyperion import logs

SYSTEMS = ("hyperion", "pgqueuer", "procrastinate", "graphile-worker", "graphile-worker-tuned", "celery")
RESULTS = ROOT / "benchmarks" / "results" / "queue.json"
PILOT_TASKS = 2000
LEAST_TASKS = 500
TURNS = 2
MOST_PAIRS = 6


def make_systems(names: Sequence[str]) -> list[System]:
    """Make every configuration of the named systems; say which cannot be imported."""
    made: list[System] = []
    for name in names:
        try:
            made += _make(name)
        except ImportError as error:
            click.echo(f"skipped {name}: {error}")
    return made


def _make(name: str) -> list[System]:
    module_name = name.partition("-")[0]
    module = importlib.import_module(f"benchmarks.queue.systems.{module_name}")
    made: dict[str, Callable[[], list[System]]] = {
        "hyperion": lambda: [module.Hyperion(claim) for claim in (200, 10, 1)],
        "pgqueuer": lambda: [module.Pgqueuer(batch) for batch in (10, 500)],
        "procrastinate": lambda: [module.Procrastinate()],
        "graphile-worker": lambda: [module.Graphile(name, module.DEFAULTS)],
        "graphile-worker-tuned": lambda: [module.Graphile(name, module.TUNED)],
        "celery": lambda: [module.Celery()],
    }
    return made[name]()


class Run:
    """One run of everything."""

    def __init__(
        self, server: Server, bench: Bench, *, tasks: int, drain_limit_s: float, samples: int, tries: int
    ) -> None:
        self._server = server
        self._bench = bench
        self._tasks = tasks
        self._drain_limit_s = drain_limit_s
        self._samples = samples
        self._tries = tries
        self._rates: dict[str, float] = {}
        self._started = time.monotonic()
        self.results = Results()

    async def prepare(self, systems: Sequence[System]) -> list[System]:
        """Set every system up; drop those that cannot run here, and find out how fast the rest are."""
        missing: set[str] = set()
        for system in _first_of_each(systems):
            try:
                await system.prepare(self._server)
            except NotHere as error:
                click.echo(f"skipped {system.name}: {error}")
                missing.add(system.name)
        prepared = [system for system in systems if system.name not in missing]
        for system in prepared:
            pilot = await self._drain(system, min(PILOT_TASKS, self._tasks))
            click.echo(f"{system.label}: warmed up, {pilot[0].value:,.0f}/s")
        return prepared

    async def round(self, systems: Sequence[System]) -> None:
        """Measure every scenario, and within it every system."""
        for turn in range(TURNS):
            for system in systems:
                await self._drain_in_pairs(system, turn)
        for system in _first_of_each(systems):
            await self._take(system, lambda one: self._bench.enqueue_single(one, self._tasks // 100))
        for system in systems:
            if system.label not in ("hyperion 200", "hyperion 10", "pgqueuer 500"):  # idle, the size is no matter
                await self._take(system, lambda one: self._bench.pickup(one, self._samples), tries=MOST_TRIES)
        for system in systems:
            if system.label == "hyperion 200":
                await self._take(system, lambda one: self._bench.backlog(one, self._tasks))

    async def _drain_in_pairs(self, system: System, turn: int) -> None:
        """Drain without and with an old snapshot, until each has taken about the limit.

        A processor is slower for seconds at a time, so either is the first in turn.
        """
        pairs = 0
        while pairs < max(1, min(MOST_PAIRS, round(self._at_most(system) / self._tasks))):
            await self._take(system, partial(self._drain_pair, held_first=(turn + pairs) % 2 == 1))
            pairs += 1

    async def _drain_pair(self, system: System, *, held_first: bool) -> list[Measured]:
        measured: list[Measured] = []
        for held in (held_first, not held_first):
            tasks = min(self._tasks, max(self._at_most(system), LEAST_TASKS))
            if not held:
                measured += await self._drain(system, tasks)
            elif system.uses_postgres:
                measured += await self._bench.drain(system, tasks, held=True)
        return measured

    async def _drain(self, system: System, tasks: int) -> list[Measured]:
        measured = await self._bench.drain(system, tasks)
        self._rates[system.label] = measured[0].value
        return measured

    def _at_most(self, system: System) -> int:
        """Return how many tasks take about the limit, going by the drain before."""
        return int(self._rates[system.label] * self._drain_limit_s)

    async def _take(
        self, system: System, measure: Callable[[System], Coroutine[Any, Any, list[Measured]]], tries: int = 0
    ) -> None:
        """Measure, again where the hypervisor disturbed it, and take in the calmest; at most as often as asked for."""
        calm = Calm[list[Measured]](max(tries, self._tries))
        try:
            for _ in calm:
                calm.take(await measure(system))
        except Stuck as error:  # the others' figures are not lost with it
            click.echo(f"FAILED {error}")
            return
        self.results.add(system, calm.best)
        values = "  ".join(f"{one.scenario} {one.value:,.4g}" for one in calm.best)
        click.echo(f"{time.monotonic() - self._started:6.0f} s  {system.label}: {values}  ({calm.stolen:.0%} stolen)")


def _first_of_each(systems: Sequence[System]) -> list[System]:
    return list({system.name: system for system in reversed(systems)}.values())[::-1]


async def measure(server: Server, names: Sequence[str], *, rounds: int, limit_s: float, **sizes: int) -> Run:
    """Measure the named systems in so many rounds. SIGTERM cancels that, and cleans up."""
    task = asyncio.current_task()
    assert task
    # Not a handler that raises: wherever it struck, a lock of Popen's for example might stay taken.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as folder:
        run = Run(server, Bench(server, Path(folder)), drain_limit_s=limit_s, **sizes)
        systems = await run.prepare(make_systems(names))
        for number in range(rounds):
            click.echo(f"round {number + 1} of {rounds}")
            await run.round(systems)
    return run


def _split(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = sorted(set(names) - set(SYSTEMS))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; known are {', '.join(SYSTEMS)}")
    return names


@click.command(help=__doc__)
@click.option("--tasks", default=100_000, show_default=True, help="Tasks a drain; slow systems get fewer.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--systems", default=",".join(SYSTEMS), show_default=True, callback=_split)
@click.option("--drain-limit-s", default=4.0, show_default=True, help="About how long one drain may take.")
@click.option("--samples", default=200, show_default=True, help="Pick-ups a round.")
@click.option("--tries", default=3, show_default=True, help="At most so many where the hypervisor disturbs one.")
@click.option(
    "--output", default=RESULTS, type=click.Path(path_type=Path), show_default="benchmarks/results/queue.json"
)
def main(*, rounds: int, systems: list[str], drain_limit_s: float, output: Path, **sizes: int) -> None:
    """Run, print and write."""
    logs.configure("error")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the loop has a handler of its own
    with running_server() as server:
        click.echo(
            f"Postgres {server.version()}, durable; Python {platform.python_version()}; "
            f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}"
        )
        measuring = measure(server, systems, rounds=rounds, limit_s=drain_limit_s, **sizes)
        try:
            run = asyncio.run(measuring)
        except asyncio.CancelledError:
            raise click.Abort from None
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the server is stopped anyway
    run.results.write(output)
    click.echo(f"\n{run.results.table()}\n")
    for ratio in run.results.ratios():
        click.echo(str(ratio))


if __name__ == "__main__":
    main()
