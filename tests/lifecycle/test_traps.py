"""Processes that are neither well nor dead, and hosts that lie: what they hold is finished once, by somebody."""

import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import aiohttp
import psutil

from hyperion.db import Database
from hyperion.media.status import Status, is_legal_walk
from tests.chaos.proxy import Proxy
from tests.lifecycle.tree import Tree, User
from tests.photos import make_photo
from tests.until import until

MakeTree = Callable[..., Tree]
SignIn = Callable[[Tree], Awaitable[User]]
HOST = {"PYTHONPATH": str(Path(__file__).parent / "host")}
ALERT = {"HYPERION_HEARTBEAT_S": "0.3", "HYPERION_SILENCE_S": "2"}
HOUR_S = 3600


async def was_done_once(db: Database) -> bool:
    """Tell whether every photo was finished by exactly one legal walk, and counted once."""
    walks: dict[str, list[Status]] = {}
    for row in await db.fetch("SELECT media_id, status FROM media_log ORDER BY user_id, seq"):
        walks.setdefault(str(row["media_id"]), []).append(Status(row["status"]))
    counted = await db.fetch_value("SELECT sum(done) FROM actor_day WHERE label NOT LIKE 'archiver%'")
    ends = Counter(status for walk in walks.values() for status in walk if status in (Status.READY, Status.FAILED))
    return all(map(is_legal_walk, walks.values())) and ends == {Status.READY: len(walks)} and counted == len(walks)


async def test_a_handler_that_blocks_its_loop_is_shown_and_replaced_and_its_photo_finished(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(**HOST, **ALERT, HYPERION_SIMULATED_PROCESSING_S="1").start()
    user = await sign_in(tree)
    [media_id] = await user.upload()
    victim = await user.worker_of("PROCESSING")
    before = tree.processes()

    tree.signal(signal.SIGUSR1, before[f"worker {victim}"])

    await user.until_ready([media_id])
    assert f"Status changed to UPLOADED: {victim} died while working on it" in await user.history(media_id)
    assert await was_done_once(db)
    assert "block_the_loop" in "\n".join(tree.noise)
    after = tree.processes()
    assert {name for name, pid in after.items() if before[name] != pid} == {f"worker {victim}"}


async def test_a_worker_that_cannot_beat_loses_its_photo_and_its_late_result_is_refused(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(
        **ALERT,
        HYPERION_OFFLINE_S="2",
        HYPERION_LEASE_S="4",
        HYPERION_RESCUE_S="0.2",
        HYPERION_SIMULATED_PROCESSING_S="4",
    ).start()
    user = await sign_in(tree)
    [media_id] = await user.upload()
    victim = await user.worker_of("PROCESSING")
    before = tree.processes()

    tree.signal(signal.SIGSTOP)  # or the supervisor would kill it before the reaper sees it
    async with db.transaction() as holder:
        await holder.execute("SELECT FROM actor WHERE label = $1 FOR UPDATE", victim)
        await until(lambda: tree.events("lease.lost", actor=victim))
    tree.signal(signal.SIGCONT)
    await user.until_ready([media_id])

    assert "Status changed to UPLOADED: its worker fell silent" in await user.history(media_id)
    assert await was_done_once(db)
    assert tree.processes() == before


async def test_a_worker_without_memory_fails_one_attempt_and_begins_a_new_life(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(HYPERION_WORKERS="1").start()
    user = await sign_in(tree)
    await user.until_ready(await user.upload())  # so that it has its thread
    before = tree.processes()
    victim = psutil.Process(before["worker Helios"])
    victim.rlimit(psutil.RLIMIT_DATA, (victim.memory_info().data + (2 << 20), psutil.RLIM_INFINITY))

    form = aiohttp.FormData()
    form.add_field("files", make_photo(size=(3000, 2000), fmt="PNG"), filename="a.png", content_type="image/png")
    answer = await user.call("POST", "/api/upload/files", data=form)

    await user.until_ready(answer["media_ids"])
    assert "attempt 1 failed" in " ".join(await user.history(answer["media_ids"][0]))
    assert await was_done_once(db)
    after = tree.processes()
    assert {name for name, pid in after.items() if before[name] != pid} == {"worker Helios"}


async def test_a_host_whose_clock_is_wrong_and_jumps_does_all_as_ever(
    make_tree: MakeTree, sign_in: SignIn, db: Database, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, ahead_s=-HOUR_S)
    tree = await make_tree(
        **HOST, **ALERT, HOST_CLOCK=str(clock), HYPERION_REAP_S="0.3", HYPERION_SIMULATED_PROCESSING_S="1"
    ).start()
    user, other = await sign_in(tree), await sign_in(tree)
    await user.watch()
    media_ids = await user.upload()
    await user.worker_of("PROCESSING")
    before = tree.processes()
    await other.call("POST", "/api/auth/logout")
    await swept(db)

    set_clock(clock, ahead_s=HOUR_S)
    await user.until_ready(media_ids)
    media_ids += await user.upload()
    fleet = await user.fleet()
    late = await sign_in(tree)
    set_clock(clock, ahead_s=-HOUR_S)
    await user.until_ready(media_ids)

    assert abs(ahead_s(tree, "node.started") + HOUR_S) < 60  # or this test would test nothing
    assert {name for name, pid in tree.processes().items() if before[name] != pid} == set()
    assert not tree.events("lease.rescued") + tree.events("actor.hung") + tree.events("reaper.worked", duty="rescue")
    assert await was_done_once(db)
    assert {node["status"] for node in fleet.values()} <= {"Active", "Working"}
    assert all(abs(datetime.fromisoformat(node["last_ping"]).timestamp() - time.time()) < 60 for node in fleet.values())
    assert sum(node["tasks_processed_today"] for node in (await user.fleet()).values()) == 2
    await until(lambda: [frame["status"] for frame in user.frames].count("READY") == 2)
    assert (await late.ask("GET", "/api/auth/me"))[0] == 200
    assert (await other.ask("GET", "/api/auth/me"))[0] == 401


async def test_a_database_that_refuses_for_longer_than_anybody_waits_costs_nothing(
    make_tree: MakeTree, sign_in: SignIn, db: Database, database_url: str, proxy: Proxy
) -> None:
    """Five minutes, with all limits shortened so that each is over before it comes back.

    How the knocks of many are spread is what `tests/unit/test_backoff.py` tests; here it is how few they are.
    """
    tree = await make_tree(
        url=proxy.url(database_url),
        HYPERION_HEARTBEAT_S="1",
        HYPERION_SILENCE_S="3",
        HYPERION_OFFLINE_S="3",
        HYPERION_LEASE_S="2",
        HYPERION_RESCUE_S="0.3",
        HYPERION_REAP_S="0.3",
        HYPERION_PENDING_LIMIT_S="2",
        HYPERION_UPLOADED_LIMIT_S="2",
        HYPERION_PARK_S="1",
        HYPERION_SIMULATED_PROCESSING_S="0.5",
    ).start()
    user = await sign_in(tree)
    media_ids = await user.upload(6)
    await user.worker_of("PROCESSING")
    before = tree.processes()

    proxy.turn_away()
    refused_at_s = time.monotonic()
    await until(lambda: time.monotonic() > refused_at_s + 4, every_s=0.2)
    refusal = await user.try_upload()
    knocks = sum(1.5 < at_s - refused_at_s < 4 for at_s in proxy.knocks_at_s)
    await proxy.mend()
    await user.until_ready(media_ids, within_s=40)
    await user.until_ready(await user.upload())

    assert refusal[0] == 503
    assert await was_done_once(db)
    assert tree.processes() == before
    assert not tree.events("lease.rescued") + tree.events("actor.hung") + tree.events("reaper.worked", duty="rescue")
    assert 0 < knocks / 2.5 < 6 * len(before)


async def test_commits_whose_answers_are_lost_are_done_once(
    make_tree: MakeTree, sign_in: SignIn, db: Database, database_url: str, proxy: Proxy
) -> None:
    tree = await make_tree(url=proxy.url(database_url)).start()
    user = await sign_in(tree)

    proxy.lose_answers_to(b"COMMIT;", one_in=2)
    acknowledged = await user.upload(3)
    await user.until_ready(acknowledged)

    assert proxy.lost_answers > 5
    assert set(await user.statuses()) == set(acknowledged)
    assert await was_done_once(db)


def set_clock(path: Path, *, ahead_s: int) -> None:
    """Set the host's clock, whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_text(str(ahead_s), encoding="ascii")
    fresh.replace(path)


def ahead_s(tree: Tree, event: str) -> float:
    """Return by how much the clock was ahead that a process wrote its log with."""
    return datetime.fromisoformat(tree.events(event)[0]["timestamp"]).timestamp() - time.time()


async def swept(db: Database) -> None:
    """Wait until the reaper has removed the revocations that are over."""
    await db.execute("INSERT INTO revoked_token (jti, expires_at) VALUES ('long ago', now() - interval '2 minutes')")
    await until(lambda: db.fetch_value("SELECT NOT EXISTS (SELECT FROM revoked_token WHERE jti = 'long ago')"))
