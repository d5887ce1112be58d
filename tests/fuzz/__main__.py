"""`python -m tests.fuzz`: fuzz a running system for some minutes; exit code 1 where something is found."""

import asyncio
import random
import sys

import click

from hyperion import logs
from tests.fuzz.run import run
from tests.servers import server_binaries


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="how long, signed in and as nobody together")
@click.option("--seed", type=int, default=None, help="which requests; the same seed, much the same (default: any)")
def main(minutes: float, seed: int | None) -> None:
    """Send a system of its own what its OpenAPI document allows, and what it does not."""
    logs.configure("error")
    chosen = random.randrange(1 << 31) if seed is None else seed
    click.echo(f"fuzz: seed {chosen}, {minutes:g} min …")
    report = asyncio.run(run(seconds=max(4, round(60 * minutes)), seed=chosen, binaries=server_binaries()))
    click.echo(report.text())
    click.echo(f"again: make fuzz SEED={chosen} MINUTES={minutes:g}")
    sys.exit(bool(report.violations))


main()
