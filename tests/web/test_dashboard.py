"""The fleet, and giving it something to do."""

import json
from typing import Any

import pytest

from hyperion.db import Database
from hyperion.web.dashboard import NodeStatus, cluster_status
from tests.web.conftest import Person, Site

FLEET = "/api/dashboard/ai-workers"
DISPATCH = "/api/dashboard/ai-workers/dispatch"


async def add_worker(db: Database, name: str, **columns: Any) -> None:
    values = {"state": "ready", "paused": False, "current_task_id": None, "silent_s": 0.0, "kind": "worker"} | columns
    await db.execute(
        """
        INSERT INTO actor (node, name, label, kind, boot, pid, state, paused, current_task_id, current_task_status,
            restarts, beat_at)
        VALUES ('n1', $1, $1, $2, 1, 1, $3, $4, $5, CASE WHEN $5::bigint IS NULL THEN NULL ELSE 'PROCESSING' END,
            2, now() - make_interval(secs => $6))
        """,
        name, values["kind"], values["state"], values["paused"], values["current_task_id"], values["silent_s"],
    )  # fmt: skip


async def test_each_worker_shows_what_it_is_doing(site: Site, ada: Person) -> None:
    await add_worker(site.db, "Aethon")
    await add_worker(site.db, "Crius", current_task_id=2**60)
    await add_worker(site.db, "Eos", paused=True, current_task_id=1)
    await add_worker(site.db, "Helios", silent_s=121.0, current_task_id=1)
    await add_worker(site.db, "Phoebe", state="gone")
    await add_worker(site.db, "reaper", kind="reaper")
    await site.db.execute(
        """
        INSERT INTO actor_day (label, day, done)
        VALUES ('Crius', (now() AT TIME ZONE 'UTC')::date, 7), ('Aethon', (now() AT TIME ZONE 'UTC')::date - 1, 9)
        """
    )

    body = await (await ada.get(FLEET)).json()

    nodes = {node["name"]: node for node in body["nodes"]}
    assert {name: node["status"] for name, node in nodes.items()} == {
        "Aethon": "Active",
        "Crius": "Working",
        "Eos": "Paused",
        "Helios": "Offline",
        "Phoebe": "Offline",
    }
    assert (nodes["Crius"]["current_task_id"], nodes["Crius"]["current_task_status"]) == (str(2**60), "PROCESSING")
    assert (nodes["Crius"]["tasks_processed_today"], nodes["Aethon"]["tasks_processed_today"]) == (7, 0)
    assert (nodes["Crius"]["restarts"], nodes["Crius"]["node"]) == (2, "n1")
    assert (body["total_active_fleet"], body["cluster_status"], body["queue_depth"]) == (2, "Degraded", 0)
    assert body["last_updated"]


@pytest.mark.parametrize(
    ("working", "active", "expected"),
    [(8, 0, "Stressed"), (7, 0, "Optimal"), (0, 3, "Optimal"), (1, 1, "Degraded"), (0, 0, "Degraded")],
)
def test_the_fleet_is_summed_up_in_one_word(working: int, active: int, expected: str) -> None:
    counts: dict[NodeStatus, int] = {"Working": working, "Active": active, "Offline": 5}
    statuses = [status for status, count in counts.items() for _ in range(count)]

    assert cluster_status(statuses) == expected


@pytest.mark.parametrize(
    ("query", "body", "action"),
    [
        ({}, None, "Generic AI Task"),
        ({"action": "Scan"}, None, "Scan"),
        ({}, {"action": "Scan"}, "Scan"),
        ({}, {}, "Generic AI Task"),
    ],
)
async def test_a_simulated_task_is_queued_for_the_workers(
    site: Site, ada: Person, query: dict[str, str], body: dict[str, str] | None, action: str
) -> None:
    answer = await ada.post(DISPATCH, params=query, **({} if body is None else {"json": body}))
    shown = await answer.json()

    assert answer.status == 200
    assert shown == {
        "message": f"Task {shown['task_id']} dispatched to the Titan fleet.",
        "task_id": shown["task_id"],
        "action": action,
        "queue_size": 1,
    }
    row = await site.db.fetch_row("SELECT kind, lane, payload FROM task WHERE id = $1", int(shown["task_id"]))
    assert row is not None
    assert (row["kind"], row["lane"], json.loads(row["payload"])) == ("simulate", "analyse", {"action": action})


async def test_an_own_finished_photo_is_analysed_again(site: Site, ada: Person) -> None:
    media_id = await ada.photo()
    await site.db.execute("UPDATE media SET status = 'READY', stored_at = now() WHERE id = $1", media_id)

    answer = await ada.post(DISPATCH, json={"media_id": str(media_id)})

    assert answer.status == 200
    assert await site.db.fetch_value("SELECT status FROM media WHERE id = $1", media_id) == "UPLOADED"
    assert await site.db.fetch_value("SELECT item FROM task WHERE kind = 'analyse'") == media_id


async def test_a_photo_in_work_is_409_and_one_of_somebody_else_404(site: Site, ada: Person, bob: Person) -> None:
    media_id = await ada.photo()

    in_work = await ada.post(DISPATCH, json={"media_id": str(media_id)})
    of_ada = await bob.post(DISPATCH, json={"media_id": str(media_id)})
    unknown = await bob.post(DISPATCH, json={"media_id": "x"})
    wrong = await bob.post(DISPATCH, json={"media_id": 2**63})

    assert [answer.status for answer in (in_work, of_ada, unknown, wrong)] == [409, 404, 404, 422]
    assert await site.db.fetch_value("SELECT count(*) FROM task WHERE kind = 'analyse'") == 0
