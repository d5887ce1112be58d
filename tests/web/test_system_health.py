"""The dashboard of the machines: from rows, so the same from every process and after every restart."""

from typing import Any

import pytest

from hyperion.db import Database
from hyperion.web.system_health import Pressure, pressure
from tests.web.conftest import MakeSite, Person, Site

HEALTH = "/api/dashboard/system-health"


async def add_sample(db: Database, node: str, *, cpu: float, memory: float, age_s: float = 0) -> None:
    await db.execute(
        """
        INSERT INTO machine_sample (node, sampled_at, source, covered_s, cpu_percent, memory_percent)
        VALUES ($1, now() - make_interval(secs => $2), 'cgroup v2', 10, $3, $4)
        """,
        node, age_s, cpu, memory,
    )  # fmt: skip


async def add_history(db: Database, grain: str, node: str, *, ago: int, pressure: float, covered_s: float) -> None:
    """Add the row of so many minutes or days ago, with a mean pressure."""
    await db.execute(
        """
        INSERT INTO machine_history (grain, start_at, node, covered_s, cpu_s, memory_s, pressure_s)
        VALUES ($1, date_trunc($1, now(), 'UTC') - $3 * ('1 ' || $1)::interval, $2, $4, 0, 0, $5)
        """,
        grain, node, ago, covered_s, pressure * covered_s,
    )  # fmt: skip


async def shown(person: Person) -> dict[str, Any]:
    answer = await person.get(HEALTH)
    assert answer.status == 200
    body: dict[str, Any] = await answer.json()
    return body


async def test_it_shows_the_newest_sample_of_the_busiest_node(site: Site, ada: Person) -> None:
    await add_sample(site.db, "n1", cpu=99, memory=99, age_s=60)
    await add_sample(site.db, "n1", cpu=20, memory=30)
    await add_sample(site.db, "n2", cpu=10, memory=85.5)
    await add_sample(site.db, "n3", cpu=100, memory=100, age_s=200)  # it has left

    body = await shown(ada)

    assert (body["cpu"], body["memory"], body["node"], body["source"]) == (10, 85.5, "n2", "cgroup v2")
    assert (body["status"], body["environment"]) == ("HEAVY_LOAD", "production")


async def test_before_the_first_sample_it_shows_a_machine_at_rest(ada: Person) -> None:
    body = await shown(ada)

    assert (body["cpu"], body["memory"], body["source"], body["status"]) == (0, 0, "none", "STABILIZED")
    assert (body["server_load"], body["uptime"]) == ([0] * 7, 0)
    assert body["last_updated"]


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (0, "STABILIZED"), (29.9, "STABILIZED"), (30, "ACTIVE"), (80, "ACTIVE"), (80.1, "HEAVY_LOAD"),
        (95, "HEAVY_LOAD"), (95.1, "STRESSED"), (100, "STRESSED"),
    ],
)  # fmt: skip
def test_pressure_is_said_in_one_word(percent: float, expected: Pressure) -> None:
    assert pressure(percent) == expected


async def test_the_load_of_a_day_is_the_mean_of_all_nodes_by_the_time_they_ran(site: Site, ada: Person) -> None:
    await add_history(site.db, "day", "n1", ago=0, pressure=50, covered_s=100)
    await add_history(site.db, "day", "n2", ago=0, pressure=10, covered_s=300)
    await add_history(site.db, "day", "n1", ago=2, pressure=33.333, covered_s=1)
    await add_history(site.db, "day", "n1", ago=6, pressure=6, covered_s=1)
    await add_history(site.db, "day", "n1", ago=7, pressure=77, covered_s=1)

    body = await shown(ada)

    assert body["server_load"] == [6, 0, 0, 0, 33.33, 0, 20]


async def test_uptime_is_the_share_of_the_last_24_hours_in_which_any_node_ran(site: Site, ada: Person) -> None:
    await site.db.execute(
        """
        INSERT INTO machine_history (grain, start_at, node, covered_s, cpu_s, memory_s, pressure_s)
        SELECT 'minute', date_trunc('minute', now()) - ago * INTERVAL '1 min', node, 60, 0, 0, 0
        FROM (VALUES ('n1', 1, 432), ('n2', 289, 720), ('n1', 1441, 2000)) AS ran (node, first, last)
        CROSS JOIN generate_series(first, last) AS m (ago)
        """
    )

    body = await shown(ada)

    assert body["uptime"] == pytest.approx(50, abs=0.1)


async def test_who_ran_all_the_time_has_an_uptime_of_100(site: Site, ada: Person) -> None:
    await site.db.execute(
        """
        INSERT INTO machine_history (grain, start_at, node, covered_s, cpu_s, memory_s, pressure_s)
        SELECT 'minute', date_trunc('minute', now()) - ago * INTERVAL '1 min', 'n1',
            CASE ago WHEN 0 THEN extract(second FROM now()) ELSE 59.99 + ago % 3 * 0.01 END, 0, 0, 0
        FROM generate_series(0, 1500) AS m (ago)
        """
    )

    body = await shown(ada)

    assert body["uptime"] == 100


async def test_every_web_process_says_the_same(make_site: MakeSite) -> None:
    one, other = await make_site(), await make_site()
    await add_sample(one.db, "n1", cpu=12, memory=34)
    await add_history(one.db, "day", "n1", ago=0, pressure=50, covered_s=100)
    ada = await one.user("ada@example.org")

    first, second = await shown(ada), await shown(Person(other, ada.id, ada.token))

    assert {**first, "last_updated": ""} == {**second, "last_updated": ""}
