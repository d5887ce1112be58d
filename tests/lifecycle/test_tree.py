"""The running tree: messages to actors, restarts, several nodes, live updates everywhere."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from hyperion.actors import mailbox
from hyperion.db import Database
from tests.lifecycle.tree import ROOT, Tree, User
from tests.until import until

MakeTree = Callable[..., Tree]
SignIn = Callable[[Tree], Awaitable[User]]
WORKERS = {"Helios", "Eos", "Aethon", "Crius", "Iapetus", "Perses", "Phlegon", "Phoebe", "Theia", "Cronus"}
REQUESTS = 'http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200"'


async def scrape(tree: Tree) -> dict[str, float]:
    """Map series as Prometheus writes them to their values."""
    async with aiohttp.ClientSession() as http, http.get(tree.base + "/metrics") as answer:
        assert answer.status == 200
        families = text_string_to_metric_families(await answer.text())
    return {_series(s.name, s.labels): s.value for family in families for s in family.samples}


def _series(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return name + (f"{{{inner}}}" if inner else "")


async def test_a_photo_goes_all_the_way_and_every_step_is_seen_live(make_tree: MakeTree, sign_in: SignIn) -> None:
    tree = await make_tree().start()
    user = await sign_in(tree)
    await user.watch()

    [media_id] = await user.upload()
    await user.until_ready([media_id])

    await until(lambda: user.frames and user.frames[-1]["status"] == "READY")
    assert [frame["status"] for frame in user.frames] == ["PENDING", "UPLOADED", "EXTRACTING", "PROCESSING", "READY"]
    assert [frame["seq"] for frame in user.frames] == [1, 2, 3, 4, 5]
    page = await user.call("GET", "/api/vault")
    assert (round(page["items"][0]["lat"], 3), round(page["items"][0]["lng"], 3)) == (52.5, 13.4)
    assert page["items"][0]["has_trash"] is False


async def test_the_processes_say_what_they_are(make_tree: MakeTree) -> None:
    tree = await make_tree(HYPERION_WORKERS="10").start()

    names = set(tree.processes())

    assert names == {f"worker {name}" for name in WORKERS} | {
        "fork server",
        "reaper reaper",
        "metrics metrics",
        "archiver archiver",
        "web web",
    }
    assert psutil.Process(tree.pid).cmdline()[0].startswith("hyperion: supervisor")


async def test_actors_start_in_order_and_stop_in_reverse(make_tree: MakeTree) -> None:
    tree = await make_tree(HYPERION_WORKERS="10").start()
    await tree.stop()

    started = [line["actor"] for line in tree.events("actor.started")]
    stopped = [line["actor"] for line in tree.events("actor.stopped")]

    assert started[:3] == ["reaper", "metrics", "archiver"]
    assert (set(started[3:13]), started[13]) == (WORKERS, "web")
    assert (stopped[0], set(stopped[1:11]), stopped[11:]) == ("web", WORKERS, ["archiver", "metrics", "reaper"])


async def test_a_deleted_photo_is_left_alone_by_its_worker_and_its_file_goes(
    make_tree: MakeTree, sign_in: SignIn
) -> None:
    tree = await make_tree(HYPERION_SIMULATED_PROCESSING_S="2").start()
    user = await sign_in(tree)
    [media_id] = await user.upload()
    await user.worker_of("PROCESSING")
    stored = [path for path in (tree.folder / "store").rglob("*") if path.is_file()]

    await user.call("DELETE", f"/api/vault/{media_id}")

    assert len(stored) == 1
    await until(lambda: not stored[0].exists())
    await until(lambda: tree.events("task.dropped"))
    assert not tree.events("task.failed")


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


async def test_of_two_supervisors_with_one_name_exactly_one_goes_on(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    first = await make_tree().start()
    second = make_tree()
    second.launch()
    named = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%' AND pid NOT IN "
    holders = "(SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
    await until(lambda: db.fetch_value(named + holders + " AND pid <> pg_backend_pid()"))

    await db.fetch_value(f"SELECT count(pg_terminate_backend(pid)) FROM {holders} AS holder")

    await until(lambda: first.has_ended or second.has_ended, within_s=20)
    survivor = second if first.has_ended else first
    await until(lambda: survivor.events("node.started"), within_s=20)
    user = await sign_in(survivor)

    await user.until_ready(await user.upload(2))
    assert {first.has_ended, second.has_ended} == {True, False}


async def test_a_restarted_worker_hands_its_photo_to_another(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(HYPERION_SIMULATED_PROCESSING_S="2").start()
    user = await sign_in(tree)
    [media_id] = await user.upload()
    name = await user.worker_of("PROCESSING")

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


async def test_live_updates_reach_every_socket_on_every_node_and_replay_what_was_missed(
    make_tree: MakeTree, sign_in: SignIn
) -> None:
    tree = await make_tree(HYPERION_WORKERS="10").start()
    other = await make_tree(HYPERION_NODE="there", HYPERION_ACTORS="web,worker", HYPERION_WORKERS="10").start()
    user = await sign_in(tree)
    await user.watch(base=other.base)

    [media_id] = await user.upload()
    await user.until_ready([media_id])

    await until(lambda: user.frames and user.frames[-1]["status"] == "READY")
    elsewhere = list(user.frames)
    user.frames.clear()
    await user.watch(base=tree.base, since=elsewhere[1]["seq"])
    await until(lambda: len(user.frames) == 3)
    assert [frame | {"address": None} for frame in user.frames] == [
        frame | {"address": None}
        for frame in elsewhere[2:]  # what is known of the place by now is told
    ]
    fleet = await user.fleet()
    assert set(fleet) == WORKERS | {f"{name}@there" for name in WORKERS}


async def test_a_node_that_dies_with_its_database_connection_intact_loses_its_tasks_to_others(
    make_tree: MakeTree, sign_in: SignIn
) -> None:
    tree = await make_tree(HYPERION_ACTORS="reaper,archiver,web,worker", HYPERION_SIMULATED_PROCESSING_S="1").start()
    other = await make_tree(
        HYPERION_NODE="there",
        HYPERION_ACTORS="reaper,worker",
        HYPERION_SIMULATED_PROCESSING_S="2",
    ).start()
    user = await sign_in(tree)
    media_ids = await user.upload(10)
    await until(lambda: len(other.events("task.started")) > 2)

    other.signal(signal.SIGKILL)
    await other.exit_code()
    await other.start()

    await user.until_ready(media_ids, within_s=40)


async def test_an_orphan_that_is_left_to_the_supervisor_is_reaped(make_tree: MakeTree) -> None:
    tree = await make_tree().start()
    web = tree.processes()["web web"]

    tree.signal(signal.SIGKILL, tree.processes()["fork server"])
    await until(lambda: tree.processes().get("web web", web) != web, within_s=20)

    def zombies() -> list[int]:
        children = psutil.Process(tree.pid).children(recursive=True)
        return [child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE]

    await until(lambda: not zombies())


async def test_the_command_line_shows_the_fleet(make_tree: MakeTree) -> None:
    tree = await make_tree().start()

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "hyperion.cli", "status"],
        env=tree.environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.count(" worker ") == 4


async def test_metrics_and_dashboards_of_every_node_tell_of_all_and_never_go_back(
    make_tree: MakeTree, sign_in: SignIn
) -> None:
    here = await make_tree().start()
    there = await make_tree(HYPERION_NODE="there", HYPERION_ACTORS="web,metrics").start()
    user, other = await sign_in(here), await sign_in(there)
    await user.until_ready(await user.upload(2))
    await other.watch()
    for _ in range(3):
        await other.call("GET", "/api/auth/me")

    async def complete() -> bool:
        samples = [await scrape(tree) for tree in (here, there)]
        return all(
            found.get('hyperion_uploads_total{result="stored"}') == 2
            and found.get(f'{REQUESTS},http_route="/api/auth/me"}}') == 3
            and found["hyperion_ws_connections"] == 1
            and sum(v for name, v in found.items() if name.startswith("hyperion_tasks_completed_total")) == 4
            for found in samples
        )

    await until(complete, every_s=0.3)
    healths = [await one.call("GET", "/api/dashboard/system-health") for one in (user, other)]
    before = await scrape(here)
    there.signal(signal.SIGKILL, there.processes()["web web@there"])
    await until(lambda: len(there.events("web.listening")) == 2)
    assert await there.stop() == 0
    after = await scrape(here)

    assert [health["source"] != "none" and health["uptime"] >= 0 for health in healths] == [True, True]
    assert (await user.call("GET", "/api/dashboard/user-experience"))["active_now"] == 2
    counters = {name: value for name, value in before.items() if re.search(r"_(total|count|sum|bucket)\b", name)}
    assert [name for name, value in counters.items() if after.get(name, 0) < value] == []
