"""What an operator types: it does what it says, and says by its exit code when there was nothing to do it to."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from hyperion import queue
from hyperion.db import Database
from hyperion.queue import Claimer, Idler, Wakeup
from tests.integration.media import add_photo, add_user
from tests.integration.tasks import put, rescue, take

Hyperion = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def hyperion(database_url: str) -> Hyperion:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HYPERION_")}
    environ = own | {"DATABASE_URL": database_url, "SECRET_KEY": "k" * 40}

    async def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hyperion.cli", *words]
        return await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, timeout=30, check=False
        )

    return run


async def test_a_dead_task_is_listed_and_brought_back(db: Database, hyperion: Hyperion) -> None:
    [task_id] = await put(db, "poison")
    await take(db)
    await rescue(db, 1, max_crashes=1)

    listed = await hyperion("retry")
    revived = await hyperion("retry", str(task_id))

    assert f"{task_id} test/noop died" in listed.stdout
    assert (revived.returncode, revived.stdout) == (0, "1 task brought back\n")
    assert await queue.list_dead(db) == []


async def test_to_retry_what_is_not_dead_is_an_error(db: Database, hyperion: Hyperion) -> None:
    [task_id] = await put(db, "alive")

    listed = await hyperion("retry")
    revived = await hyperion("retry", str(task_id))

    assert listed.stdout == "no task is dead\n"
    assert (revived.returncode, revived.stderr) == (1, "Error: none of these tasks is dead\n")


async def test_to_delete_nobody_is_an_error(db: Database, hyperion: Hyperion) -> None:
    deleted = await hyperion("users", "--delete", "nobody@example.org")

    assert (deleted.returncode, deleted.stderr) == (1, "Error: there is no such user\n")


async def test_who_waits_for_such_work_is_woken_to_erase_the_photos_of_a_deleted_user(
    db: Database, wakeup: Wakeup, hyperion: Hyperion
) -> None:
    await add_user(db, "ada@example.org")
    await add_photo(db, wakeup, "ada@example.org")
    await db.execute("DELETE FROM task_ready")
    idler = Idler(wakeup, Claimer(db, lane="archive", boot=1, lease_s=60))
    assert await idler.claim(1) == []

    deleted = await hyperion("users", "--delete", "ada@example.org")

    assert (deleted.returncode, deleted.stdout) == (0, "deleted, 1 photo with it\n")
    assert await db.fetch_value("SELECT count(*) FROM task_claimer WHERE is_idle") == 0
    [lease] = await idler.claim(1)
    assert lease.kind == "erase"
