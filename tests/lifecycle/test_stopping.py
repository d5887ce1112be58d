"""A node that is told to stop hands its work back and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from hyperion.db import Database
from tests.chaos.proxy import Proxy
from tests.lifecycle.tree import ROOT, Tree, User, free_port, is_dead
from tests.until import until

MakeTree = Callable[..., Tree]
SignIn = Callable[[Tree], Awaitable[User]]


async def test_a_stop_under_work_is_quick_and_clean_and_the_next_start_takes_the_tasks_at_once(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(HYPERION_SIMULATED_PROCESSING_S="2").start()
    user = await sign_in(tree)
    await user.watch()
    media_ids = await user.upload(4)
    await until(lambda: len(tree.events("task.started")) == 4)

    code = await tree.stop()

    assert code == 0
    assert tree.events("node.stopped")[0]["took_s"] < 10
    await until(lambda: user.close_code == 1001)
    assert await db.fetch_value("SELECT count(*) FROM task_lease") == 0
    assert await db.fetch_value("SELECT count(*) FROM actor") == 0
    rows = await db.fetch("SELECT attempt, crashes FROM task_ready WHERE lane = 'analyse'")
    assert [(row["attempt"], row["crashes"]) for row in rows] == [(0, 0)] * 4

    await tree.start()
    await until(lambda: len(tree.events("task.started")) == 8, within_s=15)
    await user.until_ready(media_ids)


async def test_a_second_sigterm_ends_everything_at_once(make_tree: MakeTree) -> None:
    tree = await make_tree(HYPERION_GRACE_S="60").start()
    everybody = psutil.Process(tree.pid).children(recursive=True)
    web = tree.processes()["web web"]
    tree.signal(signal.SIGSTOP, web)  # it will not stop by itself

    tree.signal(signal.SIGTERM)
    await until(lambda: tree.events("node.stopping"))
    tree.signal(signal.SIGTERM)

    assert await tree.exit_code() == 128 + signal.SIGTERM
    await until(lambda: all(map(is_dead, everybody)))


async def test_what_does_not_stop_within_the_grace_is_killed(make_tree: MakeTree) -> None:
    tree = await make_tree(HYPERION_GRACE_S="1").start()
    tree.signal(signal.SIGSTOP, tree.processes()["worker Eos"])

    code = await tree.stop()

    assert code == 0
    assert tree.events("actor.killed", child="Eos")


async def test_a_stop_whose_grace_is_used_up_waits_little_for_a_database_that_is_away(
    make_tree: MakeTree, database_url: str, proxy: Proxy
) -> None:
    tree = await make_tree(url=proxy.url(database_url), HYPERION_GRACE_S="1").start()
    proxy.freeze()

    code = await tree.stop()

    assert code == 0
    assert tree.events("node.left_silently")
    assert tree.events("node.stopped")[0]["took_s"] < 2.5


async def test_a_forced_stop_during_the_start_leaves_nobody(make_tree: MakeTree) -> None:
    tree = make_tree()
    tree.launch()
    await until(lambda: tree.events("node.joined"), within_s=20)
    everybody = psutil.Process(tree.pid).children(recursive=True)

    tree.signal(signal.SIGQUIT)

    assert await tree.exit_code() == 128 + signal.SIGTERM
    await until(lambda: all(map(is_dead, everybody)))


async def test_a_stop_while_the_database_is_awaited_is_obeyed(make_tree: MakeTree) -> None:
    tree = make_tree(url=f"postgresql://nobody@127.0.0.1:{free_port()}/x")
    tree.launch()
    await until(lambda: tree.events("database.awaited"))

    tree.signal(signal.SIGTERM)

    assert await tree.exit_code() == 0


async def test_a_stopped_fork_server_does_not_hold_up_the_stop(make_tree: MakeTree) -> None:
    tree = await make_tree(HYPERION_GRACE_S="2").start()
    processes = tree.processes()
    tree.signal(signal.SIGSTOP, processes["fork server"])

    tree.signal(signal.SIGKILL, processes["worker Eos"])

    assert await tree.stop() == 0


async def test_a_signal_to_the_whole_group_stops_as_cleanly(make_tree: MakeTree) -> None:
    tree = await make_tree().start()

    for pid in [tree.pid, *tree.processes().values()]:
        tree.signal(signal.SIGTERM, pid)

    assert await tree.exit_code() == 0
    assert not tree.events("actor.killed")


async def test_a_stop_during_the_start_is_clean(make_tree: MakeTree) -> None:
    tree = make_tree()
    tree.launch()
    await until(lambda: tree.events("actor.started"), within_s=20)

    assert await tree.stop() == 0


def run(folder: Path, **environ: str) -> tuple[int, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HYPERION_") and k not in ("PORT", "DATABASE_URL")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "supervisor.py")],
        env=kept | environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


def test_every_fault_of_the_settings_is_named_at_once(tmp_path: Path) -> None:
    code, out = run(tmp_path, SECRET_KEY="short", HYPERION_WORKER="3", HYPERION_GRACE_S="long")

    assert code == 78
    for part in (
        "SECRET_KEY must have at least 32 bytes",
        "did you mean HYPERION_WORKERS",
        "HYPERION_GRACE_S",
        "DATABASE_URL",
    ):
        assert part in out


def test_a_database_that_never_answers_is_given_up_within_the_budget(tmp_path: Path) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/x"

    code, out = run(
        tmp_path, SECRET_KEY="k" * 32, DATABASE_URL=url, HYPERION_START_BUDGET_S="1", HYPERION_PORT=str(free_port())
    )

    assert code == 69
    assert "database.unavailable" in out


async def test_a_port_that_is_taken_is_said_at_the_start(make_tree: MakeTree, shared_tree: Tree) -> None:
    second = make_tree(HYPERION_PORT=str(shared_tree.port), HYPERION_NODE="there")

    second.launch()

    assert await second.exit_code() == 78
    assert "cannot listen" in str(second.events("configuration.refused"))


async def test_a_second_supervisor_with_the_same_node_name_is_refused(make_tree: MakeTree, shared_tree: Tree) -> None:
    second = make_tree(url=shared_tree.environ["DATABASE_URL"])

    second.launch()

    assert await second.exit_code() == 78
    assert second.events("node.name_taken")
    assert not shared_tree.has_ended


async def test_development_needs_nothing_and_keeps_its_data(make_tree: MakeTree, sign_in: SignIn) -> None:
    tree = await make_tree(DATABASE_URL="", SECRET_KEY="", dev=True).start()
    await (await sign_in(tree)).upload()
    code = await tree.stop()

    await tree.start()

    assert code == 0
    await until(lambda: tree.events("task.finished"))
    assert tree.events("schema.migrated")[0]["applied"]
    assert len(tree.events("schema.migrated")) == 1
