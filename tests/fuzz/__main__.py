"""`python -m tests.fuzz`: fuzz a running system for some minutes; exit code 1 where something is found."""

import asyncio
import random
import sys

import click

from hyperion import logs
from tests.conftest import server_binaries
from tests.fuzz.run import run

SHARE_AS_NOBODY = 0.2  # most of what there is to find is behind the sign-in


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="how long, signed in and as nobody together")
@click.option("--seed", type=int, default=None, help="which requests; the same seed, much the same (default: any)")
def main(minutes: float, seed: int | None) -> None:
    """Send a system of its own what its OpenAPI document allows, and what it does not."""
    logs.configure("error")
    chosen = random.randrange(1 << 31) if seed is None else seed
    has_failed = False
    for signed_in, share in ((True, 1 - SHARE_AS_NOBODY), (False, SHARE_AS_NOBODY)):
        seconds = max(1, round(60 * minutes * share))
        click.echo(f"fuzz: seed {chosen}, {seconds} s {'signed in' if signed_in else 'as nobody'} …")
        report = asyncio.run(run(seconds=seconds, seed=chosen, signed_in=signed_in, binaries=server_binaries()))
        click.echo(report.text())
        has_failed |= bool(report.violations)
    click.echo(f"again: make fuzz SEED={chosen} MINUTES={minutes:g}")
    sys.exit(has_failed)


main()
