"""A Hub that fails at random and an archiver that is killed again and again: nothing lost, nothing twice."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hyperion.db import Database
from hyperion.media.store import state
from hyperion.queue import Wakeup
from tests.hub import faults
from tests.hub.archive import add_photo, add_user, are_equal, committed_twice, delete, statuses
from tests.hub.conftest import QUICK, REPO
from tests.hub.server import TOKEN, Hub
from tests.lifecycle.tree import Tree
from tests.until import until

KINDS = (
    faults.LOST_BEFORE,
    faults.LOST_AFTER,
    faults.LOST_AFTER,
    faults.BROKEN_BEFORE,
    faults.BROKEN_AFTER,
    faults.RETRY_AFTER,
    faults.NOT_THE_HUB,
)
SEED = int(os.environ.get("SEED", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))


@pytest.fixture
def tree(hub: Hub, database_url: str, tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(database_url, tmp_path)
    tree.environ |= QUICK | {
        "HF_TOKEN": TOKEN,
        "HF_REPO_ID": REPO,
        "HF_ENDPOINT": hub.url,
        "HYPERION_ACTORS": "reaper,archiver",
        "HYPERION_ARCHIVE_BATCH": "7",
        "HYPERION_HUB_COMMITS_PER_HOUR": "36000",
        "HYPERION_HUB_BURST": "50",
        "HYPERION_MAX_ATTEMPTS": "3",
        "HYPERION_PARK_S": "1",
        "HYPERION_POLL_S": "0.1",
        "HYPERION_REAP_S": "1",
        "HYPERION_RESCUE_S": "0.5",
    }
    yield tree
    tree.close()


async def test_a_stop_waits_a_bounded_time_for_the_commit_under_way_and_then_knows_nothing_of_it(
    hub: Hub, tree: Tree, db: Database, wakeup: Wakeup
) -> None:
    await add_user(db)
    hub.create(REPO)
    hub.commit_s = 60
    await tree.start()
    await add_photo(db, wakeup)
    await until(hub._committing.locked)

    code = await tree.stop()

    assert code == 0
    assert tree.events("store.left_in_doubt")
    assert not tree.events("actor.killed")
    assert (await state.load(db, f"hub:{REPO}", late_s=100)).doubt_s > 50
    assert await statuses(db) == {"PENDING": 1}
    assert await db.fetch_value("SELECT count(*) FROM task_lease") == 0


@pytest.mark.timeout(120 + 10 * ROUNDS)
@pytest.mark.parametrize("xet", ["yes", "no"])
async def test_chaos_ends_with_repository_and_database_equal(
    hub: Hub, tree: Tree, db: Database, wakeup: Wakeup, xet: str
) -> None:
    chance = random.Random(SEED)
    await add_user(db)
    hub.commit_s = 0.1
    tree.environ["HYPERION_HUB_XET"] = xet
    await tree.start()
    hub.faults.rage(SEED, rate=0.2, kinds=KINDS)

    everything = []
    for _ in range(ROUNDS):
        everything += [await add_photo(db, wakeup, content=chance.randbytes(3000)) for _ in range(12)]
        for gone in chance.sample(everything, 2):
            await delete(db, wakeup, gone)
        await asyncio.sleep(chance.uniform(0.3, 1.2))
        with suppress(KeyError, ProcessLookupError):
            os.kill(tree.processes()["archiver archiver"], signal.SIGKILL)
    hub.faults.calm()

    await until(lambda: are_equal(db, hub), within_s=60, every_s=0.1)
    assert set(await statuses(db)) == {"UPLOADED"}
    assert not committed_twice(hub)
    assert await tree.stop() == 0
    assert not tree.events("actor.crashed")
