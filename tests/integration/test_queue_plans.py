"""The hot statements cost the same a task, whatever the planner knew when it planned them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hyperion.db import Database
from hyperion.db.pool import Connection
from hyperion.queue.tasks import SQL

BACKLOG = 50_000
BATCH = 500
TOUCHES_PER_TASK = 12  # nodes of the longest plan, the claim's

FILL = f"""
WITH made AS (
    INSERT INTO task (lane, kind, payload)
    SELECT 'bench', 'noop', '{{}}'
    FROM generate_series(1, {BACKLOG})
    RETURNING id
)
INSERT INTO task_ready (lane, seq, task_id)
SELECT 'bench', nextval('task_seq'), id
FROM made
"""
LEASED = "SELECT array_agg(task_id) AS ids, array_agg(epoch) AS epochs FROM task_lease"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def touched(plan: dict[str, Any]) -> float:
    """Count the rows that the nodes of a plan have produced or thrown away."""
    removed = ("Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")
    return float(
        sum(
            (node["Actual Rows"] + sum(node.get(key, 0) for key in removed)) * node["Actual Loops"]
            for node in nodes(plan)
        )
    )


async def run_planned(connection: Connection, name: str, arguments: str) -> dict[str, Any]:
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({arguments})")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def literal(numbers: list[int]) -> str:
    return f"ARRAY[{', '.join(map(str, numbers))}]::bigint[]"


@pytest.mark.parametrize("settle", ["finish", "hand_back", "renew"])
async def test_plans_made_on_empty_tables_stay_good_for_a_backlog(database_url: str, settle: str) -> None:
    async with Database(database_url, name="planner", index_plans=True) as db:
        connection = await db.connect()
        for table in ("task", "task_ready", "task_lease"):  # the planner knows for certain that they are empty
            await connection.execute(f"VACUUM ANALYZE {table}")
        await connection.execute(f"PREPARE claim AS {SQL.claim}")
        await connection.execute(f"PREPARE settle AS {getattr(SQL, settle)}")
        lease_s = ", 60" if settle == "renew" else ""
        await connection.fetch("EXECUTE claim ('bench', 0, 10, 1, 60)")
        await connection.fetch(f"EXECUTE settle ('{{}}', '{{}}', 1{lease_s})")
        await connection.execute(FILL)

        claimed = await run_planned(connection, "claim", f"'bench', 0, {BATCH}, 1, 60")
        held = await connection.fetchrow(LEASED)
        assert held is not None
        settled = await run_planned(
            connection, "settle", f"{literal(held['ids'])}, {literal(held['epochs'])}, 1{lease_s}"
        )
        await connection.close()

    assert len(held["ids"]) == BATCH
    assert touched(claimed) <= TOUCHES_PER_TASK * BATCH
    assert touched(settled) <= TOUCHES_PER_TASK * BATCH
