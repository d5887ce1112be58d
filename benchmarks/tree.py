"""Measure the tree: how fast it starts, heals, how much it takes when it has nothing to do.

Usage: python -m benchmarks.tree [--rounds N] [--idle-s SECONDS]
Prints a table and writes benchmarks/results/tree.json.
"""

import argparse
import asyncio
import json
import re
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg

from hyperion import logs
from hyperion.db.embedded import EmbeddedPostgres
from tests.lifecycle.tree import Tree, User
from tests.until import until

RESULTS = Path(__file__).parent / "results" / "tree.json"
UNITS = {
    "start_existing_s": "s",
    "start_first_s": "s",
    "rescue_s": "s",
    "successor_s": "s",
    "pss_mb": "MB",
    "idle_cpu_percent": "% of a core",
    "idle_statements_per_s": "1/s",
}
GOALS = {
    "start_existing_s": 2.0,
    "start_first_s": 5.0,
    "rescue_s": 0.5,
    "successor_s": 0.2,
    "pss_mb": 250.0,
    "idle_cpu_percent": 2.0,
}
HEALTHY_LIFE_S = 61.0


@contextmanager
def running_tree(folder: Path, url: str, **settings: str) -> Iterator[Tree]:
    """Give a tree that is not started yet, and leave none of it behind."""
    tree = Tree(url, folder, dev=not url, HYPERION_WORKERS="10", **settings)
    try:
        yield tree
    finally:
        tree.close()


async def start_s(tree: Tree) -> float:
    """Start the tree; return the seconds from exec to all actors ready."""
    began_s = time.monotonic()
    began = len(tree.lines)
    tree.launch()
    await until(lambda: tree.events("node.started", since=began), within_s=60, every_s=0.002)
    return time.monotonic() - began_s


async def measure_starts(server: EmbeddedPostgres, rounds: int) -> dict[str, list[float]]:
    """Time starts on an existing database, and on none at all: initdb and migrations included."""
    found: dict[str, list[float]] = {"start_existing_s": [], "start_first_s": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, running_tree(Path(folder), server.url("bench")) as tree:
            found["start_existing_s"].append(await start_s(tree))
            await tree.stop()
        with (
            tempfile.TemporaryDirectory() as folder,
            running_tree(Path(folder), "", SECRET_KEY="") as tree,
        ):
            found["start_first_s"].append(await start_s(tree))
            await tree.stop()
    return found


async def measure_healing(tree: Tree, url: str, rounds: int) -> dict[str, list[float]]:
    """Kill working workers; time until their task is in other hands and until they are back."""
    found: dict[str, list[float]] = {"rescue_s": [], "successor_s": []}
    async with User(tree.base) as user:
        await user.upload()
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(rounds):
                victim = await user.worker_of("PROCESSING")
                pid = tree.processes()[f"worker {victim}"]
                lease = connection.execute("SELECT task_id, boot FROM task_lease WHERE lane = 'analyse'").fetchone()
                tree.signal(signal.SIGKILL, pid)
                killed_s = time.monotonic()
                rescue = successor = 0.0
                while not (rescue and successor):
                    now_s = time.monotonic() - killed_s
                    if not rescue and _in_other_hands(connection, lease):
                        rescue = now_s
                    if not successor and _is_ready(connection, victim, pid):
                        successor = now_s
                    await asyncio.sleep(0.002)
                found["rescue_s"].append(rescue)
                found["successor_s"].append(successor)
                connection.execute("UPDATE task_lease SET crashes = 0")
        await user.call("DELETE", "/api/vault/all")
    return found


def _in_other_hands(connection: psycopg.Connection[Any], lease: Any) -> bool:
    row = connection.execute("SELECT boot FROM task_lease WHERE task_id = %s", (lease[0],)).fetchone()
    return row is not None and row[0] != lease[1]


def _is_ready(connection: psycopg.Connection[Any], name: str, old_pid: int) -> bool:
    query = "SELECT 1 FROM actor WHERE name = %s AND pid <> %s AND state = 'ready'"
    return connection.execute(query, (name, old_pid)).fetchone() is not None


async def measure_idleness(tree: Tree, server: EmbeddedPostgres, idle_s: float) -> dict[str, list[float]]:
    """Leave the tree alone; count CPU (Postgres included), statements and proportional memory."""
    assert server.pid
    everybody = [psutil.Process(tree.pid), *psutil.Process(tree.pid).children(recursive=True)]
    with psycopg.connect(server.url(), autocommit=True) as connection:
        postgres = psutil.Process(server.pid)
        cpu_before, statements_before, began_s = _cpu_s([*everybody, postgres]), _commits(connection), time.monotonic()
        await asyncio.sleep(idle_s)
        took_s = time.monotonic() - began_s
        cpu_s = _cpu_s([*everybody, postgres]) - cpu_before
        statements = _commits(connection) - statements_before
    return {
        "pss_mb": [sum(_pss_mb(process.pid) for process in everybody)],
        "idle_cpu_percent": [cpu_s / took_s * 100],
        "idle_statements_per_s": [statements / took_s],
    }


def _cpu_s(processes: list[psutil.Process]) -> float:
    """Sum the CPU seconds of the processes and, for Postgres, of its backends dead or alive."""
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system
        if process.name() == "postgres":
            total += times.children_user + times.children_system
            total += sum(sum(child.cpu_times()[:2]) for child in process.children())
    return total


def _commits(connection: psycopg.Connection[Any]) -> int:
    connection.execute("SELECT pg_stat_force_next_flush()")
    row = connection.execute(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'bench'"
    ).fetchone()
    assert row
    return int(row[0])


def _pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)) / 1024


async def measure(rounds: int, idle_s: float) -> dict[str, float]:
    """Measure everything on one throw-away server; return the medians."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as name:
        server = EmbeddedPostgres(Path(name))
        server.start()
        url = server.ensure_database("bench")
        with running_tree(Path(name), url) as first:
            await start_s(first)  # the migrations
            await first.stop()
        try:
            found |= await measure_starts(server, rounds)
            with running_tree(
                Path(name), url, HYPERION_SIMULATED_EXTRACTION_S="0.1", HYPERION_SIMULATED_PROCESSING_S="600"
            ) as tree:
                await start_s(tree)
                await asyncio.sleep(HEALTHY_LIFE_S)  # who lived a minute is restarted without a wait
                found |= await measure_idleness(tree, server, idle_s)
                found |= await measure_healing(tree, url, rounds)
                await tree.stop()
        finally:
            server.stop()
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Run the measurement and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle-s", type=float, default=60)
    options = parser.parse_args()
    logs.configure("warning")
    medians = asyncio.run(measure(options.rounds, options.idle_s))
    RESULTS.parent.mkdir(exist_ok=True)
    rows = [
        {"system": "hyperion", "scenario": name, "claim": None, "value": round(value, 4), "unit": UNITS[name]}
        for name, value in medians.items()
    ]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for name, value in medians.items():
        goal = f"goal: at most {GOALS[name]:g}" if name in GOALS else ""
        print(f"{name:24} {value:10.3f} {UNITS[name]:12} {goal}")


if __name__ == "__main__":
    main()
