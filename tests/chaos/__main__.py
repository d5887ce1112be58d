"""`python -m tests.chaos`: torture a tree for some minutes; exit code 1 where something is violated."""

import asyncio
import random
import sys
from pathlib import Path

import click
import msgspec

from hyperion import logs
from tests.chaos.run import run
from tests.chaos.schedule import KINDS
from tests.servers import server_binaries


@click.command()
@click.option("--minutes", default=1.0, show_default=True, help="how long there are faults")
@click.option("--seed", type=int, default=None, help="which faults; the same seed, the same faults (default: any)")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="only these kinds of faults")
@click.option("--log", "log_file", type=click.Path(path_type=Path), help="write the tree's whole log there")
def main(minutes: float, seed: int | None, kinds: tuple[str, ...], log_file: Path | None) -> None:
    """Torture a tree of processes and check that nothing was lost, done twice or left behind."""
    logs.configure("error")
    chosen = random.randrange(1 << 31) if seed is None else seed
    click.echo(f"chaos: seed {chosen}, {minutes:g} min …")
    report = asyncio.run(run(chosen, minutes=minutes, kinds=kinds, binaries=server_binaries()))
    click.echo(report.text())
    if log_file:
        log_file.write_bytes(b"\n".join(msgspec.json.encode(line) for line in report.log))
    sys.exit(bool(report.violations))


main()
