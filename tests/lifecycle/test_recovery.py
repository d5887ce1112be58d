"""What dies is replaced, and what it worked on is finished by somebody else, once."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import psutil

from hyperion.db import Database
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.media.status import Status, is_legal_walk
from tests.lifecycle.tree import Tree, User, is_dead
from tests.until import until

MakeTree = Callable[..., Tree]
SignIn = Callable[[Tree], Awaitable[User]]
SLOW = {"HYPERION_SIMULATED_PROCESSING_S": "1.5"}
NOT_SILENT_S = 10.0  # sooner than silence (15 s) or a lease would tell; `make bench-tree` measures how soon
GONE_S = 5.0  # promised are 2 s, of a machine that does nothing else


async def walks(db: Database) -> dict[str, list[Status]]:
    """Map every photo to the states it went through."""
    rows = await db.fetch("SELECT media_id, status FROM media_log ORDER BY user_id, seq")
    found: dict[str, list[Status]] = {}
    for row in rows:
        found.setdefault(str(row["media_id"]), []).append(Status(row["status"]))
    return found


async def test_a_killed_worker_is_replaced_and_its_photo_finished_by_another(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(**SLOW).start()
    user = await sign_in(tree)
    await user.watch()
    [media_id] = await user.upload()
    victim = await user.worker_of("PROCESSING")

    tree.signal(signal.SIGKILL, tree.processes()[f"worker {victim}"])

    async def taken_over() -> bool:
        fleet = await user.fleet()
        return any(n["current_task_id"] and name != victim for name, n in fleet.items())

    await until(taken_over, within_s=NOT_SILENT_S)
    await until(lambda: f"worker {victim}" in tree.processes(), within_s=NOT_SILENT_S)
    await user.until_ready([media_id])

    history = await user.history(media_id)
    assert f"Status changed to UPLOADED: {victim} died while working on it" in history
    assert history.count("Status changed to READY") == 1
    assert [f["status"] for f in user.frames if f["media_id"] == media_id].count("READY") == 1
    assert all(is_legal_walk(walk) for walk in (await walks(db)).values())


async def test_a_stopped_worker_is_killed_and_replaced_and_cannot_come_back(
    make_tree: MakeTree, sign_in: SignIn
) -> None:
    tree = await make_tree(
        HYPERION_SIMULATED_PROCESSING_S="30", HYPERION_SILENCE_S="2", HYPERION_HEARTBEAT_S="0.3"
    ).start()
    user = await sign_in(tree)
    [media_id] = await user.upload()
    victim = await user.worker_of("PROCESSING")
    pid = tree.processes()[f"worker {victim}"]

    tree.signal(signal.SIGSTOP, pid)
    await until(lambda: tree.processes().get(f"worker {victim}", pid) != pid, within_s=20)

    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert tree.events("actor.hung", child=victim)
    await until(lambda: tree.events("lease.rescued", who=victim))
    assert f"Status changed to UPLOADED: {victim} died while working on it" in await user.history(media_id)


async def test_after_a_killed_supervisor_nobody_is_left_and_the_next_takes_up(
    make_tree: MakeTree, sign_in: SignIn, db: Database
) -> None:
    tree = await make_tree(**SLOW).start()
    user = await sign_in(tree)
    media_ids = await user.upload(6)
    await user.worker_of("PROCESSING")
    everybody = psutil.Process(tree.pid).children(recursive=True)

    tree.signal(signal.SIGKILL)
    await until(lambda: all(map(is_dead, everybody)), within_s=GONE_S)
    await tree.exit_code()
    await tree.start()
    await user.until_ready(media_ids, within_s=40)

    assert all(is_legal_walk(walk) for walk in (await walks(db)).values())
    assert await db.fetch_value("SELECT count(*) FROM task_lease") == 0


async def test_a_stopped_child_does_not_outlive_a_killed_supervisor(make_tree: MakeTree) -> None:
    tree = await make_tree().start()
    everybody = psutil.Process(tree.pid).children(recursive=True)
    tree.signal(signal.SIGSTOP, tree.processes()["worker Eos"])

    tree.signal(signal.SIGKILL)

    await until(lambda: all(map(is_dead, everybody)), within_s=GONE_S)


async def test_the_tree_comes_back_after_the_fork_server_was_killed(make_tree: MakeTree, sign_in: SignIn) -> None:
    tree = await make_tree().start()
    user = await sign_in(tree)
    before = tree.processes()

    tree.signal(signal.SIGKILL, before["fork server"])

    def replaced() -> bool:
        now = tree.processes()
        return now.keys() == before.keys() and not set(now.values()) & set(before.values())

    await until(replaced, within_s=20)

    async def serving() -> bool:
        return await _status(tree.port) == 200

    await until(serving, within_s=20)
    await user.until_ready(await user.upload(2))


async def test_a_photo_that_kills_every_worker_fails_after_three_and_the_fleet_lives(
    make_tree: MakeTree, sign_in: SignIn
) -> None:
    tree = await make_tree(HYPERION_SIMULATED_PROCESSING_S="60").start()
    user = await sign_in(tree)
    [media_id] = await user.upload()

    for rescues in (1, 2, 3):
        victim = await user.worker_of("PROCESSING")
        tree.signal(signal.SIGKILL, tree.processes()[f"worker {victim}"])
        await until(lambda count=rescues: len(tree.events("lease.rescued")) == count)  # type: ignore[misc]

    assert (await user.statuses())[media_id] == "FAILED"
    assert "3 times" in (await user.history(media_id))[-1]
    await until(lambda: sum(name.startswith("worker") for name in tree.processes()) == 4)


async def test_everything_goes_on_after_postgres_was_away(
    make_tree: MakeTree, sign_in: SignIn, own_postgres: EmbeddedPostgres
) -> None:
    tree = await make_tree(url=own_postgres.url(), **SLOW).start()
    user = await sign_in(tree)
    acknowledged = await user.upload(3)
    await user.worker_of("PROCESSING")
    before = tree.processes()

    await asyncio.to_thread(own_postgres.stop)
    refusals = [await user.try_upload() for _ in range(3)]
    health_began_s = time.monotonic()
    health = await user.ask("GET", "/api/health")
    health_took_s = time.monotonic() - health_began_s
    own_postgres.start()

    async def uploaded() -> bool:
        status, body = await user.try_upload()
        if status == 201:
            acknowledged.extend(body["media_ids"])
        return status == 201

    await until(uploaded, within_s=20, every_s=0.2)
    await user.until_ready(acknowledged, within_s=40)

    assert {status for status, _ in refusals} == {503}
    assert refusals[0][1]["code"] == "database_unavailable"
    assert (health[0], health[1]["components"]["database"]) == (503, "down")
    assert health_took_s < 2
    assert tree.processes() == before


async def test_a_crash_of_postgres_loses_nothing_that_was_acknowledged(
    make_tree: MakeTree, sign_in: SignIn, own_postgres: EmbeddedPostgres
) -> None:
    tree = await make_tree(url=own_postgres.url(), **SLOW).start()
    user = await sign_in(tree)
    acknowledged = await user.upload(3)
    await user.worker_of("PROCESSING")

    await asyncio.to_thread(own_postgres.stop, immediate=True)
    own_postgres.start()

    await user.until_ready(acknowledged, within_s=40)


async def _status(port: int) -> int:
    reader, writer = None, None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return int((await reader.readline()).split()[1])
    except OSError:
        return 0
    finally:
        if writer:
            writer.close()
