"""What is asked most is answered from indexes, for a user with 100,000 photos and for one with 100,000 places.

`make bench-http` measures the same questions, those of places with a million.
"""

import json
from typing import Any

import psycopg
import pytest

from hyperion.db import Database
from hyperion.db.queries import Queries
from hyperion.web import auth, dashboard, map, vault  # noqa: A004
from tests import crowd

READER, SURVEYOR = "reader", "surveyor"
PHOTOS, PER_CELL = 100_000, 10
BIG = {"media", "detection", "media_thumbnail"}


@pytest.fixture(scope="module")
def url(postgres: Any) -> str:
    name = "plans"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE hyperion_template".encode())
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        crowd.add_reader(connection, READER, photos=PHOTOS)
        crowd.add_surveyor(connection, SURVEYOR, per_cell=PER_CELL)
        crowd.add_fleet(connection, waiting=1000)
        connection.execute("VACUUM ANALYZE")
    return str(postgres.url(name))


async def run(url: str, query: str, *args: object) -> tuple[list[dict[str, Any]], int]:
    """Run the query as the web process does; return the nodes of its plan, and how many pages it read."""
    async with Database(url, name="test") as db, db.connection() as connection:
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}", *args)
    plan = json.loads(rows[0][0])[0]["Plan"]
    return nodes(plan), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]


def scanned(found: list[dict[str, Any]]) -> set[str]:
    """Name the big tables that are read from end to end."""
    return {node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"} & BIG


@pytest.mark.parametrize("page", [1, 500])
@pytest.mark.parametrize("order", ["page_newest", "page_oldest"])
async def test_a_page_of_the_vault_is_read_off_the_index(url: str, order: str, page: int) -> None:
    found, pages = await run(url, getattr(vault.SQL, order), READER, 20, (page - 1) * 20)

    assert {node["Node Type"] for node in found} == {"Limit", "Index Only Scan"}
    assert sum(node.get("Heap Fetches", 0) for node in found) == 0
    assert pages < 10 + page


async def test_the_photos_of_a_page_are_looked_up_by_their_ids(url: str) -> None:
    async with Database(url, name="test") as db:
        ids = [row["id"] for row in await db.fetch(vault.SQL.page_newest, READER, 20, 0)]

    found, pages = await run(url, vault.SQL.media_items, ids)

    assert not scanned(found)
    assert pages < 20 * 8


@pytest.mark.parametrize(
    ("queries", "name", "args"),
    [
        (auth.SQL, "session_users", (["some token"], [READER])),
        (vault.SQL, "count_all", (READER,)),
        (dashboard.SQL, "workers", ()),
    ],
)
async def test_what_every_request_asks_costs_a_few_pages(
    url: str, queries: Queries, name: str, args: tuple[object, ...]
) -> None:
    found, pages = await run(url, getattr(queries, name), *args)

    assert not scanned(found)
    assert pages < 10


async def test_a_window_of_the_map_reads_its_photos_and_no_others(url: str) -> None:
    window = crowd.window(7)
    bounds = (window.min_lat, window.max_lat, window.min_lng, window.max_lng)

    found, pages = await run(url, map.SQL.photos_in_box, READER, None, None, 10_000, *bounds)

    assert found[0]["Actual Rows"] == 500
    assert not scanned(found)
    assert pages < 500 * 5


async def test_the_statistics_read_cells_and_of_the_photos_only_those_at_the_edge(url: str) -> None:
    area = crowd.SURVEYED
    bounds = (area.min_lat + 0.001, area.max_lat - 0.001, area.min_lng + 0.001, area.max_lng - 0.001)

    found, _ = await run(url, map.SQL.counted_cells, SURVEYOR, *bounds, 0.005)

    of_photos = [node for node in found if node.get("Relation Name") == "media"]
    read = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in of_photos
    )
    assert {node["Node Type"] for node in of_photos} == {"Index Only Scan"}
    assert sum(node["Heap Fetches"] for node in of_photos) == 0
    assert read == pytest.approx(396 * PER_CELL, rel=0.01)
    assert found[0]["Actual Rows"] == 10_000


async def test_the_surveyor_was_counted_right(url: str) -> None:
    """The other tests stand on it: what is written beside the triggers must be what they would have written."""
    async with Database(url, name="test") as db:
        question = (SURVEYOR, *vars(crowd.SURVEYED).values(), 0.05)
        counted, read = await db.fetch(map.SQL.counted_cells, *question), await db.fetch(map.SQL.cells, *question)

    assert counted == read
    assert sum(cell["count"] for cell in counted) == 10_000 * PER_CELL
