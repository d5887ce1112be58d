"""The machine's history, actors' counts and what is kept of them: by keys of UTC days, each exactly once."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hyperion.actors.machine import Sample
from hyperion.actors.metrics import MOST_WAITING, Metrics
from hyperion.actors.reaper import Reaper
from hyperion.actors.specs import ActorSpec, Life
from hyperion.actors.worker import Worker
from hyperion.db import Database
from hyperion.errors import DatabaseUnavailable
from hyperion.media.transaction import photo_transaction
from hyperion.queue import Wakeup
from hyperion.settings import Settings
from tests.forgetful import ForgetfulDatabase

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def life(name: str, kind: str, *, node: str = "n1", boot: int = 1, restarts: int = 0) -> Life:
    return Life(spec=ActorSpec(name, kind), node=node, label=name, boot=boot, restarts=restarts)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, secret_key="k" * 32, var_dir=tmp_path, store_dir=tmp_path / "store")


@pytest.fixture
async def make_metrics(settings: Settings) -> AsyncIterator[Callable[..., Metrics]]:
    """Make metrics actors, whose databases are closed after the test."""
    made: list[Metrics] = []

    def make(*, node: str = "n1", boot: int = 1) -> Metrics:
        made.append(Metrics(life("metrics", "metrics", node=node, boot=boot), settings))
        return made[-1]

    yield make
    for actor in made:
        await actor.db.close()


def sample(pressure: float, *, memory: float = 0.0, covered_s: float = 10.0) -> Sample:
    return Sample("cgroup v2", covered_s, cpu_percent=pressure, memory_percent=memory)


async def put(actor: Metrics, *samples: tuple[float, Sample]) -> None:
    """Write samples of such ages in seconds."""
    now_s = time.monotonic()
    for age_s, one in samples:
        actor.keep(now_s - age_s, one)
    await actor.run_once(now_s)


async def history(db: Database, grain: str) -> list[dict[str, Any]]:
    rows = await db.fetch("SELECT * FROM machine_history WHERE grain = $1 ORDER BY start_at, node", grain)
    return [dict(row) for row in rows]


async def since_midnight_s(db: Database) -> float:
    return float(await db.fetch_value("SELECT extract(epoch FROM now() - date_trunc('day', now(), 'UTC'))::float8"))


async def test_a_sample_is_added_to_its_minute_its_hour_and_its_day(
    db: Database, make_metrics: Callable[..., Metrics]
) -> None:
    midnight_s = await since_midnight_s(db)
    noon_yesterday_s = midnight_s + DAY_S / 2
    actor = make_metrics()

    await put(actor, (noon_yesterday_s, sample(20, memory=40)), (noon_yesterday_s - 20, sample(60, memory=40)))
    await put(actor, (noon_yesterday_s - 90, sample(50, memory=10)))

    for grain, rows in (("minute", 2), ("hour", 1), ("day", 1)):
        found = await history(db, grain)
        assert len(found) == rows
        assert sum(row["covered_s"] for row in found) == pytest.approx(30)
        assert sum(row["cpu_s"] for row in found) == pytest.approx(1300)
        assert sum(row["memory_s"] for row in found) == pytest.approx(900)
        assert sum(row["pressure_s"] for row in found) == pytest.approx(1500)


async def test_a_day_ends_at_midnight_of_utc_wherever_the_server_stands(
    db: Database, make_database: Callable[[], str], make_metrics: Callable[..., Metrics]
) -> None:
    name = await db.fetch_value("SELECT current_database()")
    await db.execute(f"ALTER DATABASE {name} SET timezone = 'Pacific/Kiritimati'")
    midnight_s = await since_midnight_s(db)

    await put(make_metrics(), (midnight_s + 30, sample(10)), (midnight_s - 30, sample(30)))

    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert [(row["start_at"], row["cpu_s"]) for row in await history(db, "day")] == [
        (today - timedelta(days=1), 100),
        (today, 300),
    ]


async def test_samples_that_were_written_without_an_answer_count_once(
    db: Database, make_metrics: Callable[..., Metrics], database_url: str
) -> None:
    actor = make_metrics()
    async with ForgetfulDatabase(database_url, name="test") as forgetful:
        actor.db = forgetful
        forgetful.is_forgetful = True
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await put(actor, (0, sample(10)))
        forgetful.is_forgetful = False
        await put(actor)

    [day] = await history(db, "day")
    assert day["covered_s"] == 30
    assert await db.fetch_value("SELECT count(*) FROM machine_sample") == 3


async def test_while_the_database_is_away_the_newest_samples_wait(
    db: Database, make_metrics: Callable[..., Metrics]
) -> None:
    actor, now_s = make_metrics(), time.monotonic()
    for number in range(MOST_WAITING + 10):
        actor.keep(now_s + number, sample(10))

    written = await actor.run_once(now_s + MOST_WAITING + 10)

    assert written == MOST_WAITING


async def test_a_new_life_and_another_node_count_beside_the_old(
    db: Database, make_metrics: Callable[..., Metrics]
) -> None:
    await put(make_metrics(boot=1), (0, sample(10)))
    await put(make_metrics(boot=2), (0, sample(10)))
    await put(make_metrics(node="n2", boot=3), (0, sample(10)))

    assert [(row["node"], row["covered_s"]) for row in await history(db, "day")] == [("n1", 20), ("n2", 10)]


async def test_what_is_measured_goes_when_its_time_is_over(
    db: Database, make_metrics: Callable[..., Metrics], settings: Settings
) -> None:
    ages = (0, settings.keep_minutes_s + MINUTE_S, settings.keep_hours_s + HOUR_S, settings.keep_days_s + DAY_S)
    await put(make_metrics(), *((age_s, sample(10)) for age_s in ages))
    await db.execute(
        """
        WITH days AS (
            INSERT INTO user_day (day, user_id)
            VALUES ((now() AT TIME ZONE 'UTC')::date, 'ada'), ('2000-01-01', 'ada')
        ),
        slots AS (
            INSERT INTO request_slot (slot_at, requests, duration_s)
            VALUES (now(), 1, 1), (now() - INTERVAL '1 h', 1, 1)
        ),
        sessions AS (
            INSERT INTO web_session (id, user_id, started_at, seen_at)
            VALUES ('s1', 'ada', now(), now()), ('s2', 'ada', now(), now() - INTERVAL '25 h')
        ),
        sights AS (
            INSERT INTO session_sight (session_id, seen_at)
            VALUES ('s1', now()), ('s2', now() - INTERVAL '1 h')
        )
        INSERT INTO actor_day (label, day, done)
        VALUES ('Helios', (now() AT TIME ZONE 'UTC')::date, 1), ('Helios', '2000-01-01', 1)
        """
    )
    reaper = Reaper(life("reaper", "reaper"), settings)

    async with reaper.db:
        counts = await reaper.sweep()

    assert [len(await history(db, grain)) for grain in ("minute", "hour", "day")] == [1, 2, 3]
    assert (counts["samples"], counts["history"], counts["sessions"]) == (3, 6, 1)
    for table in ("user_day", "request_slot", "web_session", "session_sight", "actor_day", "machine_sample"):
        assert await db.fetch_value(f"SELECT count(*) FROM {table}") == 1, table


async def test_an_actor_counts_its_tasks_by_the_day_and_in_all(db: Database, settings: Settings) -> None:
    worker = Worker(life("Helios", "worker"), settings)
    await db.execute(
        "INSERT INTO actor_day (label, day, done) VALUES ('Helios', (now() AT TIME ZONE 'UTC')::date - 1, 7)"
    )

    for counts in ({"done": 1}, {"done": 1}, {"failed": 1}):
        async with photo_transaction(db, Wakeup(db)) as tx:
            await worker.count(tx, **counts)

    days = await db.fetch("SELECT day, done, failed FROM actor_day ORDER BY day DESC")
    [total] = await db.fetch("SELECT lane, done, failed, buckets FROM actor_total")
    today: date = await db.fetch_value("SELECT (now() AT TIME ZONE 'UTC')::date")
    assert [tuple(row) for row in days] == [(today, 2, 1), (today - timedelta(days=1), 7, 0)]
    assert (total["lane"], total["done"], total["failed"], sum(total["buckets"])) == ("analyse", 2, 1, 3)


async def test_restarts_of_an_actor_add_up_across_lives_of_its_node(db: Database, settings: Settings) -> None:
    async def live(boot: int, restarts: int) -> None:
        actor = Metrics(life("metrics", "metrics", boot=boot, restarts=restarts), settings)
        async with actor.db:
            await actor._register()
            await actor._register()  # the answer to the first was lost

    for boot, restarts in ((1, 0), (2, 1), (4, 3)):
        await live(boot, restarts)
    await db.execute("DELETE FROM actor")  # the node leaves and comes back
    for boot, restarts in ((10, 0), (11, 1)):
        await live(boot, restarts)

    assert await db.fetch_value("SELECT restarts FROM actor_total WHERE label = 'metrics'") == 4
