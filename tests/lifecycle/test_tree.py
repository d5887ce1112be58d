"""The running tree: what it calls itself, messages to actors, restarts."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest_asyncio

from hyperion.actors import mailbox
from hyperion.db import Database
from hyperion.db.embedded import EmbeddedPostgres
from tests.conftest import copy_template
from tests.lifecycle.tree import ROOT, WORKERS, Tree, User
from tests.servers import quick_folder
from tests.until import until

MakeTree = Callable[..., Tree]
SignIn = Callable[[Tree], Awaitable[User]]


async def test_a_photo_goes_all_the_way_and_every_step_is_seen_live(shared_tree: Tree, sign_in: SignIn) -> None:
    user = await sign_in(shared_tree)
    await user.watch()

    [media_id] = await user.upload()
    await user.until_ready([media_id])

    await until(lambda: user.frames and user.frames[-1]["status"] == "READY")
    assert [frame["status"] for frame in user.frames] == ["PENDING", "UPLOADED", "EXTRACTING", "PROCESSING", "READY"]
    assert [frame["seq"] for frame in user.frames] == [1, 2, 3, 4, 5]
    page = await user.call("GET", "/api/vault")
    assert (round(page["items"][0]["lat"], 3), round(page["items"][0]["lng"], 3)) == (52.5, 13.4)
    assert page["items"][0]["has_trash"] is False


@dataclass(frozen=True)
class Lifetime:
    """What was seen of a tree with all workers that was started and stopped."""

    supervisor: str
    processes: set[str]
    tree: Tree

    def labels(self, event: str) -> list[str]:
        """Return whom an event was about, in its order."""
        return [line["actor"] for line in self.tree.events(event)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def life_of_a_tree(postgres: EmbeddedPostgres) -> AsyncIterator[Lifetime]:
    """A whole life of a tree, to read about."""
    with tempfile.TemporaryDirectory(prefix="hyperion-test-", dir=quick_folder()) as folder:
        tree = Tree(copy_template(postgres, "whole_life"), Path(folder), HYPERION_WORKERS="10")
        try:
            await tree.start()
            seen = psutil.Process(tree.pid).cmdline()[0], set(tree.processes())
            await tree.stop()
            yield Lifetime(*seen, tree)
        finally:
            tree.close()


def test_the_processes_say_what_they_are(life_of_a_tree: Lifetime) -> None:
    assert life_of_a_tree.processes == {f"worker {name}" for name in WORKERS} | {
        "fork server",
        "reaper reaper",
        "metrics metrics",
        "archiver archiver",
        "web web",
    }
    assert life_of_a_tree.supervisor.startswith("hyperion: supervisor")


def test_actors_start_in_order_and_stop_in_reverse(life_of_a_tree: Lifetime) -> None:
    started, stopped = life_of_a_tree.labels("actor.started"), life_of_a_tree.labels("actor.stopped")

    assert started[:3] == ["reaper", "metrics", "archiver"]
    assert (set(started[3:13]), started[13]) == (WORKERS, "web")
    assert (stopped[0], set(stopped[1:11]), stopped[11:]) == ("web", WORKERS, ["archiver", "metrics", "reaper"])


def test_every_line_on_stdout_is_one_json_object(life_of_a_tree: Lifetime) -> None:
    assert life_of_a_tree.tree.lines
    assert not life_of_a_tree.tree.events("NOT JSON")


async def test_a_deleted_photo_is_left_alone_by_its_worker_and_its_file_goes(
    shared_tree: Tree, sign_in: SignIn
) -> None:
    tree = shared_tree
    seen = len(tree.lines)
    user = await sign_in(tree)
    before = set((tree.folder / "store").rglob("*"))
    [media_id] = await user.upload()
    await user.worker_of("PROCESSING")
    stored = [path for path in set((tree.folder / "store").rglob("*")) - before if path.is_file()]

    await user.call("DELETE", f"/api/vault/{media_id}")

    assert len(stored) == 1
    await until(lambda: not stored[0].exists())
    await until(lambda: tree.events("task.dropped", since=seen))
    assert not tree.events("task.failed", since=seen)


async def test_a_paused_worker_claims_nothing_until_it_is_resumed_even_in_its_next_life(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(HYPERION_WORKERS="1").start()
    user = await sign_in(tree)
    await mailbox.send(db, "Helios", "pause")

    async def paused() -> bool:
        return bool((await user.fleet())["Helios"]["status"] == "Paused")

    await until(paused)
    pid = tree.processes()["worker Helios"]
    tree.signal(signal.SIGKILL, pid)
    await until(lambda: tree.processes().get("worker Helios", pid) != pid)
    [media_id] = await user.upload()

    async def stored() -> bool:
        return (await user.statuses())[media_id] == "UPLOADED"

    await until(stored)
    await until(paused)
    assert not tree.events("task.started")
    await mailbox.send(db, "Helios", "resume")
    await user.until_ready([media_id])


async def test_a_drained_worker_finishes_what_it_has_and_stays_down_until_restarted(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(HYPERION_WORKERS="1", HYPERION_SIMULATED_PROCESSING_S="1").start()
    user = await sign_in(tree)
    first = await user.upload()
    await user.worker_of("PROCESSING")

    await mailbox.send(db, "Helios", "drain")
    await until(lambda: "worker Helios" not in tree.processes())
    await user.until_ready(first)
    second = await user.upload()
    await mailbox.send(db, "Helios", "restart")

    await user.until_ready(second)
    assert tree.events("actor.drained")


async def test_a_message_to_a_drained_worker_is_obeyed_in_its_next_life(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(HYPERION_WORKERS="2").start()
    user = await sign_in(tree)
    await mailbox.send(db, "Eos", "drain")
    await until(lambda: "worker Eos" not in tree.processes())

    await mailbox.send(db, "Eos", "drain")  # it is drained already
    await mailbox.send(db, "Eos", "pause")
    await mailbox.send(db, "Eos", "restart")

    async def paused() -> bool:
        return bool((await user.fleet())["Eos"]["status"] == "Paused")

    await until(paused)


async def test_a_pause_of_the_whole_machine_is_nobodys_fault(make_tree: MakeTree) -> None:
    tree = await make_tree(HYPERION_SILENCE_S="3", HYPERION_HEARTBEAT_S="0.3").start()
    before = tree.processes()
    everybody = [tree.pid, *before.values()]

    for pid in everybody:
        tree.signal(signal.SIGSTOP, pid)
    resume_at_s = time.monotonic() + 4
    await until(lambda: time.monotonic() > resume_at_s)
    for pid in reversed(everybody):
        tree.signal(signal.SIGCONT, pid)
    seen = len(tree.lines)
    await until(lambda: time.monotonic() > resume_at_s + 1.5)

    assert not tree.events("actor.hung", since=seen)
    assert tree.processes() == before


async def test_a_restarted_worker_hands_its_photo_to_another(shared_tree: Tree, sign_in: SignIn) -> None:
    user = await sign_in(shared_tree)
    [media_id] = await user.upload()
    name = await user.worker_of("PROCESSING")

    async with Database(shared_tree.environ["DATABASE_URL"], name="test") as db:
        await mailbox.send(db, name, "restart")

    await user.until_ready([media_id])
    assert f"Status changed to UPLOADED: handed back by {name}" in await user.history(media_id)


async def test_a_child_that_dies_too_often_is_parked_until_an_operator_restarts_it(
    make_tree: MakeTree, db: Database
) -> None:
    tree = await make_tree(HYPERION_PARK_S="3600").start()

    def killed_until_parked() -> bool:
        if pid := tree.processes().get("worker Eos"):
            tree.signal(signal.SIGKILL, pid)
        return bool(tree.events("actor.parked", child="Eos"))

    await until(killed_until_parked, within_s=30)

    async def degraded() -> bool:
        return bool(await db.fetch_value("SELECT state FROM node") == "degraded")

    await until(degraded)
    assert len(tree.events("actor.started", actor="Eos")) <= 6
    await mailbox.send(db, "Eos", "restart")
    await until(lambda: "worker Eos" in tree.processes())


async def test_an_orphan_that_is_left_to_the_supervisor_is_reaped(make_tree: MakeTree) -> None:
    tree = await make_tree().start()
    web = tree.processes()["web web"]

    tree.signal(signal.SIGKILL, tree.processes()["fork server"])
    await until(lambda: tree.processes().get("web web", web) != web, within_s=20)

    def zombies() -> list[int]:
        children = psutil.Process(tree.pid).children(recursive=True)
        return [child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE]

    await until(lambda: not zombies())


async def test_the_command_line_shows_the_fleet(shared_tree: Tree) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "hyperion.cli", "status"],
        env=shared_tree.environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.count(" worker ") == 4
