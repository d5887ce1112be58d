"""`hyperion store move --to hub` as an operator types it: shown, interrupted, called again, misused."""

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hyperion import queue
from hyperion.db import Database
from hyperion.media.store import LocalStore
from hyperion.queue import Wakeup
from hyperion.settings import Settings, load
from tests.hub.archive import add_photo, add_user, are_equal, at_work, committed_twice, statuses_are
from tests.hub.conftest import REPO
from tests.hub.faults import Fault
from tests.hub.server import Hub
from tests.until import until

ROOT = Path(__file__).parents[2]
MOVE = [sys.executable, "-m", "hyperion.cli", "store", "move", "--to", "hub"]
PHOTOS = 6
Environ = dict[str, str]


@pytest.fixture
def environ(hub_environ: Environ, database_url: str) -> Environ:
    """What the operator's shell has, which the nodes have as well."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HYPERION_", "HF_"))}
    chosen = {
        "DATABASE_URL": database_url,
        "HYPERION_POLL_S": "0.05",
        "HYPERION_HUB_XET": "no",
        "HYPERION_HUB_BURST": "50",
        "HYPERION_ARCHIVE_BATCH": "2",
        "HYPERION_HUB_MOST_FILES": "2",
    }
    return own | hub_environ | chosen


@pytest.fixture
async def local(environ: Environ, db: Database, wakeup: Wakeup) -> LocalStore:
    """A folder with photos, from the time before the Hub."""
    await add_user(db)
    for _ in range(PHOTOS):
        await add_photo(db, wakeup)
    before = load({name: value for name, value in environ.items() if not name.startswith("HF_")})
    async with at_work(before):
        await until(lambda: statuses_are(db, {"UPLOADED": PHOTOS}))
    return LocalStore(before.store_dir)


@pytest.fixture
def settings(environ: Environ) -> Settings:
    return load(environ)


@contextlib.asynccontextmanager
async def moving(environ: Environ, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *MOVE, *options, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(environ: Environ, *options: str) -> tuple[int | None, str, str]:
    """Run the command to its end; return its exit code and what it says."""
    async with moving(environ, *options) as process:
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


async def test_it_tells_in_lines_how_far_it_is_and_new_photos_go_in_between(
    db: Database, wakeup: Wakeup, hub: Hub, environ: Environ, settings: Settings, local: LocalStore
) -> None:
    hub.commit_s = 0.2
    async with at_work(settings), moving(environ, "--at-once", "3") as process:
        await until(lambda: hub.requests["commit"])
        await add_photo(db, wakeup)
        out, err = await process.communicate()
        await until(lambda: are_equal(db, hub))

    assert (process.returncode, err) == (0, b"")
    assert out.decode().splitlines()[-2:] == [f"{PHOTOS} of {PHOTOS}", f"{PHOTOS} photos moved"]
    assert not list(local.paths())
    assert await run(environ) == (0, "nothing is left to move\n", "")


async def test_on_a_terminal_it_draws_a_bar(
    db: Database, hub: Hub, environ: Environ, settings: Settings, local: LocalStore
) -> None:
    controller, terminal = pty.openpty()
    async with at_work(settings):
        process = await asyncio.create_subprocess_exec(*MOVE, env=environ, cwd=ROOT, stdout=terminal)
        os.close(terminal)
        drawn = await asyncio.to_thread(read_all, controller)
        await process.wait()

    assert process.returncode == 0
    assert f"{PHOTOS}/{PHOTOS}" in drawn
    assert "####" in drawn
    assert f"{PHOTOS} photos moved" in drawn


def read_all(terminal: int) -> str:
    content = b""
    with contextlib.suppress(OSError):  # how Linux ends what a terminal says
        while some := os.read(terminal, 4096):
            content += some
    os.close(terminal)
    return content.decode()


async def test_killed_in_the_middle_it_goes_on_where_it_was(
    db: Database, hub: Hub, environ: Environ, settings: Settings, local: LocalStore
) -> None:
    hub.commit_s = 0.3
    async with at_work(settings):
        async with moving(environ, "--at-once", "2") as first:
            await until(lambda: REPO in hub.repositories and hub.repository(REPO).files)
            first.kill()
            await first.wait()
        left = len(list(local.paths()))
        code, out, _ = await run(environ)
        await until(lambda: are_equal(db, hub))

    assert 0 < left < PHOTOS
    assert code == 0
    assert f"{PHOTOS} photos moved" not in out
    assert not list(local.paths())
    assert not committed_twice(hub)


async def test_it_says_why_nothing_moves_and_goes_on_when_the_hub_does(
    db: Database, hub: Hub, environ: Environ, settings: Settings, local: LocalStore
) -> None:
    hub.create(REPO)
    hub.faults.order("commit", *[Fault(status=403)] * 8)

    async with at_work(settings):
        code, _, err = await run(environ)

    assert code == 0
    assert "the Hub is refused until" in err
    assert "403" in err


async def test_an_archiver_that_does_not_see_the_folder_leaves_moves_to_one_that_does(
    db: Database, hub: Hub, environ: Environ, settings: Settings, local: LocalStore, tmp_path: Path
) -> None:
    blind = load(environ | {"HYPERION_VAR": str(tmp_path / "elsewhere")})

    async with moving(environ) as process:
        async with at_work(blind):
            await until(lambda: db.fetch_value("SELECT count(*) = $1 FROM task_scheduled", PHOTOS))
        await db.execute("UPDATE task_scheduled SET run_at = now()")
        await queue.promote_due(db)
        async with at_work(settings, boot=8):
            assert await process.wait() == 0

    assert not list(local.paths())


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"HF_REPO_ID": "", "HF_TOKEN": ""}, 78, "HF_TOKEN and HF_REPO_ID"),
        ({"HF_REPO_ID": "photos"}, 78, "HF_REPO_ID must be owner/name"),
        ({}, 1, "there is no local store"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, 1, "no connection to Postgres"),
    ],
)
async def test_what_it_cannot_do_it_says_in_one_line(
    environ: Environ, settings: Settings, changed: Environ, code: int, said: str
) -> None:
    if "DATABASE_URL" in changed:
        settings.store_dir.mkdir(parents=True)

    ended, out, err = await run(environ | changed)

    assert (ended, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
