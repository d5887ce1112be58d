"""Measure what requests cost: one web process beside a bare handler, uploads, and many open sockets.

Usage: python -m benchmarks.http [--rounds N] [--seconds S] [--only reading,uploads,live] …
Prints a table and writes benchmarks/results/http.json.
"""

import platform
from collections.abc import Mapping
from pathlib import Path

import click
import psutil

from benchmarks.http import live, reading, uploading
from benchmarks.http.load import generator
from benchmarks.http.report import Goal, Results
from benchmarks.http.stage import Stage, running_stage
from hyperion import logs
from tests import crowd

RESULTS = Path(__file__).parents[1] / "results" / "http.json"
PARTS = ("reading", "uploads", "live")
GOALS = {
    "me_share_of_bare": Goal(0.8, is_most=False),
    **{f"{name}_p99": Goal(25) for name in ("vault_first", "vault_500th", "recents", "ai_workers", "map_500")},
    "stats_1e6_cold": Goal(300),
    "stats_1e6_cached": Goal(3),
    "memory_64_uploads_of_20mb": Goal(300),
    "live_missing_or_foreign": Goal(0),
    "live_p99": Goal(100),
    "live_slow_dropped": Goal(live.SLOW, is_most=False),
}
UPLOAD_MB_PER_S, UPLOAD_SHARE = 60.0, 0.6


def measure(stage: Stage, results: Results, parts: list[str], sizes: Mapping[str, int], rounds: int) -> None:
    """Measure the parts that were asked for; what is short is measured in every round."""
    if "reading" in parts:
        reading.prepare(stage, photos=sizes["photos"], points=sizes["points"])
    if "uploads" in parts:
        with stage.connect() as connection:
            crowd.add_user(connection, uploading.UPLOADER)
    for number in range(rounds):
        click.echo(f"round {number + 1} of {rounds}")
        if "reading" in parts:
            reading.measure_profile(stage, results, seconds=sizes["seconds"])
            reading.measure_lists(stage, results, photos=sizes["photos"], seconds=sizes["seconds"])
            reading.measure_stats(stage, results)
        if "uploads" in parts:
            uploading.measure_uploads(stage, results, uploads=sizes["uploads"])
    if "live" in parts:
        live.measure_live(stage, results, sockets=sizes["sockets"], per_second=100, seconds=sizes["live_seconds"])


def goals(results: Results) -> dict[str, Goal]:
    """Return the goals, that of uploads by what the machine can do."""
    bare = results.median("bare", "insert_2mb")
    return GOALS | ({"upload_2mb": Goal(min(UPLOAD_MB_PER_S, UPLOAD_SHARE * bare), is_most=False)} if bare else {})


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=4, show_default=True, help="Of load a list and round.")
@click.option("--photos", default=100_000, show_default=True, help="Of the user who reads; in steps of 500.")
@click.option("--points", default=1_000_000, show_default=True, help="Of the user who asks for statistics.")
@click.option("--uploads", default=200, show_default=True, help="Of 2 MB a round.")
@click.option("--sockets", default=2000, show_default=True)
@click.option("--live-seconds", default=30, show_default=True)
@click.option("--only", default=",".join(PARTS), show_default=True)
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), show_default="benchmarks/results/http.json")
def main(*, rounds: int, only: str, output: Path, **sizes: int) -> None:
    """Run, print and write."""
    logs.configure("error")
    results = Results()
    click.echo(
        f"load by {generator()}; Python {platform.python_version()}; "
        f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}"
    )
    parts = only.split(",")
    with running_stage() as stage:
        measure(stage, results, parts, sizes, rounds)
    if "uploads" in parts:
        with running_stage() as stage:  # fresh: memory that others needed once is not given back
            with stage.connect() as connection:
                crowd.add_user(connection, uploading.UPLOADER)
            uploading.measure_memory(stage, results)
    results.write(output)
    click.echo(results.table(goals(results)))


if __name__ == "__main__":
    main()
