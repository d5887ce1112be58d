"""Several nodes on one database: one fleet, one feed, one account of it all."""

import re
import signal
from collections.abc import Awaitable, Callable

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from hyperion.db import Database
from tests.lifecycle.tree import WORKERS, Tree, User
from tests.until import until

MakeTree = Callable[..., Tree]
SignIn = Callable[[Tree], Awaitable[User]]
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
