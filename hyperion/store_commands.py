"""The store from a shell: taking the photos of a folder to the Hub."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from hyperion import store_move
from hyperion.db import Database
from hyperion.errors import EXIT_BAD_CONFIGURATION
from hyperion.media.store import LocalStore, store_name
from hyperion.media.store import state as store_state
from hyperion.media.store.state import StoreState
from hyperion.queue import Wakeup
from hyperion.settings import Settings

LINE_EVERY_S = 5.0

OnProgress = Callable[[int, int], None]
WithDatabase = Callable[[click.Context, Callable[[Database], Awaitable[Any]]], Any]


def make_store_commands(settings_of: Callable[[bool], Settings], with_database: WithDatabase) -> click.Group:
    """Return the group `store`; the arguments read the settings and open their database."""

    @click.group()
    def store() -> None:
        """Work on the store of photos."""

    @store.command()
    @click.option("--to", "target", type=click.Choice(["hub"]), required=True, help="Where the photos go.")
    @click.option(
        "--at-once", type=click.IntRange(1, 10_000), default=500, show_default=True, help="How many wait in line."
    )
    @click.pass_context
    def move(context: click.Context, target: str, *, at_once: int) -> None:
        """Take the photos of the local store to another. Can be interrupted, and called again to go on."""
        settings = settings_of(context.find_root().obj)
        if not settings.hf_repo_id:
            click.echo(f"HF_TOKEN and HF_REPO_ID say where the {target} is; set them here and for the nodes", err=True)
            sys.exit(EXIT_BAD_CONFIGURATION)
        if not settings.store_dir.is_dir():
            raise click.ClickException(f"there is no local store in {settings.store_dir}")
        with_database(context, lambda db: _move(db, settings, at_once=at_once))

    return store


async def _move(db: Database, settings: Settings, *, at_once: int) -> None:
    wakeup = Wakeup(db)
    local = LocalStore(settings.store_dir)
    background = [asyncio.create_task(wakeup.run()), asyncio.create_task(_tell_of_pauses(db, store_name(settings)))]
    try:
        with _progress() as show:
            moved = await store_move.move(db, wakeup, local, at_once=at_once, on_progress=show)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    click.echo(f"{moved} photos moved" if moved else "nothing is left to move")


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """Give a function that shows how far it is: a bar on a terminal, else a line now and then."""
    if sys.stdout.isatty():
        with click.progressbar(length=1, label="moving", show_pos=True) as bar:

            def draw(done: int, total: int) -> None:
                bar.length = max(total, 1)
                bar.update(done - bar.pos)

            yield draw
    else:
        told_at_s = -LINE_EVERY_S

        def tell(done: int, total: int) -> None:
            nonlocal told_at_s
            if total and (done == total or time.monotonic() - told_at_s >= LINE_EVERY_S):
                told_at_s = time.monotonic()
                click.echo(f"{done} of {total}")

        yield tell


async def _tell_of_pauses(db: Database, name: str) -> None:
    """Say on stderr why nothing moves, whenever the reason is a new one."""
    told = StoreState()
    while True:
        known = await store_state.show(db, name)
        if known != told and known.state != "ready":
            until = f" until {known.resumes_at:%H:%M:%S %Z}" if known.resumes_at else ""
            below_the_bar = "\n" if sys.stdout.isatty() else ""
            click.echo(f"{below_the_bar}the Hub is {known.state}{until}: {known.detail}", err=True)
        told = known
        await asyncio.sleep(store_move.LOOK_S)
