"""The whole system with its photos on a Hub of its own: `make run-hub`.

The Hub keeps its contents in memory and a temporary folder: they end with it.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import click

from tests.hub import faults
from tests.hub.server import TOKEN, Hub, running

ROOT = Path(__file__).parents[2]
REPO = "ada/photos"
KINDS = (
    faults.LOST_BEFORE,
    faults.LOST_AFTER,
    faults.BROKEN_BEFORE,
    faults.BROKEN_AFTER,
    faults.RETRY_AFTER,
    faults.IN_WORDS,
)


def main() -> int:
    """Run both until Ctrl-C; return the supervisor's exit code."""
    parser = argparse.ArgumentParser(prog="make run-hub", description=__doc__)
    parser.add_argument("--rage", type=float, default=0.0, help="share of the Hub's answers that go wrong (0.2)")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--commits-per-hour", type=int, default=128, help="the Hub's quota (128)")
    parser.add_argument("--commit-s", type=float, default=1.0, help="how long a commit takes (1)")
    parser.add_argument("--public", action="store_true", help="a public repository")
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(run(parser.parse_args()))
    return 0


async def run(options: argparse.Namespace) -> int:
    """Start the Hub, then the supervisor, and tell of every commit."""
    with tempfile.TemporaryDirectory(prefix="hyperion-hub-") as folder:
        async with running(Path(folder), commits_per_hour=options.commits_per_hour, commit_s=options.commit_s) as hub:
            if options.rage:
                hub.faults.rage(options.seed, rate=options.rage, kinds=KINDS)
            click.echo(f"The Hub is on {hub.url}; the repository {REPO} is made with the first photo.")
            given = settings_for(hub, is_private=not options.public)
            click.echo("In another shell: export " + " ".join(f"{name}={value}" for name, value in given.items()))
            telling = asyncio.create_task(tell(hub))
            code = await supervise(given)
            telling.cancel()
            return code


def settings_for(hub: Hub, *, is_private: bool) -> dict[str, str]:
    """Return the environment in which photos go to the Hub."""
    return {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_REPO_ID": REPO, "HYPERION_HUB_PRIVATE": str(is_private)}


async def supervise(given: dict[str, str]) -> int:
    """Run the supervisor with its photos on the Hub; hand it our signals."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "supervisor.py"), "--dev", env=os.environ | given, start_new_session=True
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, process.send_signal, number)
    return await process.wait()


async def tell(hub: Hub) -> None:
    """Print every commit as it comes."""
    seen = 1
    while True:
        await asyncio.sleep(0.2)
        commits = hub.repositories[REPO].commits if REPO in hub.repositories else []
        for commit in commits[seen:]:
            click.echo(f"Hub: {commit.oid[:8]} {commit.summary} ({len(hub.repositories[REPO].files)} there now)")
        seen = max(seen, len(commits))


if __name__ == "__main__":
    sys.exit(main())
