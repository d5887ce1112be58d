"""Many changes of some users, and those of others meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from hyperion.db import Database
from hyperion.media.store import LocalStore
from hyperion.queue import Bell
from hyperion.web.live import EVERYONE, MOST_REPLAYS, PAGE, SQL, LiveFeed
from hyperion.web.outbox import Outbox
from tests.chaos.proxy import Proxy
from tests.until import until
from tests.web.conftest import Printed

MANY = 30 * PAGE
ROOMY = 2 * MANY


class Stand:
    """A feed, a bell that only the test strikes, and readers that note who got which change, in order."""

    def __init__(self, db: Database, folder: Path, *, poll_s: float = 60) -> None:
        self.bell = Bell()
        self.feed = LiveFeed(db, LocalStore(folder), self.bell, poll_s=poll_s)
        self.order: list[tuple[str, int]] = []
        self.when_sent: dict[tuple[str, int], Callable[[], None]] = {}
        self.writing: list[asyncio.Task[None]] = []

    async def follow(self, user_id: str) -> None:
        """Read the user's changes, which have not begun yet."""
        reader = self.feed.join(user_id, Outbox(ROOMY), since=0, current=0)
        await self.feed.catch_up(reader)

        async def send(frame: str) -> None:
            seq = msgspec.json.decode(frame)["seq"]
            self.order.append((user_id, seq))
            self.when_sent.get((user_id, seq), lambda: None)()

        self.writing.append(asyncio.create_task(reader.outbox.write_to(send, within_s=5)))

    def got(self, user_id: str) -> list[int]:
        """The numbers that came to the user, as they came."""
        return [seq for user, seq in self.order if user == user_id]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hand out changes."""
        feeding = asyncio.create_task(self.feed.run())
        try:
            yield
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding


MakeStand = Callable[..., Stand]


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[MakeStand]:
    """Make feeds whose writers end with the test."""
    stands: list[Stand] = []

    def make(db: Database, **more: float) -> Stand:
        stands.append(Stand(db, tmp_path, **more))
        return stands[-1]

    yield make
    for stand in stands:
        for task in stand.writing:
            task.cancel()
        await asyncio.gather(*stand.writing, return_exceptions=True)


async def add_user(db: Database, user_id: str) -> None:
    await db.execute(
        "INSERT INTO app_user (id, email, full_name, language, password_hash) VALUES ($1, $1, '', 'en', '')", user_id
    )
    await db.execute(
        """
        INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path)
        VALUES (gen_random_uuid(), $1, 'a.jpg', 'image/jpeg', 1, 1, 1, 'PENDING', '')
        """,
        user_id,
    )


async def change(db: Database, user_id: str, times: int = 1) -> None:
    """Commit so many changes of the user's photo at once."""
    await db.execute(
        """
        INSERT INTO media_log (user_id, seq, media_id, status, action, message)
        SELECT $1, n, id, 'PENDING', 'STATUS_CHANGE', '' FROM media, generate_series(1, $2::bigint) AS n
        WHERE user_id = $1
        """,
        user_id, times,
    )  # fmt: skip


async def test_a_change_does_not_wait_for_the_end_of_somebody_elses_thousands(
    db: Database, make_stand: MakeStand
) -> None:
    stand = make_stand(db)
    for user_id, times in (("many", MANY), ("one", 1)):
        await add_user(db, user_id)
        await stand.follow(user_id)
        await change(db, user_id, times)
    stand.when_sent["many", 1] = lambda: stand.bell.strike("one")

    async with stand.running():
        stand.bell.strike("many")
        await until(lambda: len(stand.order) == MANY + 1)

    assert stand.order.index(("one", 1)) < MANY / 3
    assert stand.got("many") == list(range(1, MANY + 1))


async def test_those_who_have_thousands_share_a_page_and_take_turns(db: Database, make_stand: MakeStand) -> None:
    stand = make_stand(db)
    users = [f"user {n}" for n in range(PAGE * 3 // 2)]
    for user_id in users:
        await add_user(db, user_id)
        await stand.follow(user_id)
        await change(db, user_id, 3)

    counts = [await stand.feed.run_once(EVERYONE)]
    while counts[-1]:
        counts.append(await stand.feed.run_once(set()))
    await until(lambda: len(stand.order) == 3 * len(users))

    assert max(counts) == PAGE
    assert {user for user, _ in stand.order[: 2 * PAGE]} == set(users)
    assert all(stand.got(user_id) == [1, 2, 3] for user_id in users)


async def test_who_waits_has_a_turn_also_while_page_after_page_is_filled_by_those_just_heard_of(
    db: Database, make_stand: MakeStand
) -> None:
    stand = make_stand(db)
    *heard, waiting = users = [f"user {n}" for n in range(PAGE * 6 // 5)]
    for user_id in users:
        await add_user(db, user_id)
        await stand.follow(user_id)
    await change(db, waiting)
    assert await stand.feed.run_once(EVERYONE) == 0  # as those were read who came before

    counts = [await stand.feed.run_once(set(heard)) for _ in range(3)]

    assert sum(counts) == 1


async def test_thousands_arrive_in_order_and_once_though_the_database_goes_away_amid_them(
    database_url: str, proxy: Proxy, make_stand: MakeStand, printed: Printed
) -> None:
    async with Database(proxy.url(database_url), name="test") as db:
        stand = make_stand(db, poll_s=0.1)
        await add_user(db, "many")
        await stand.follow("many")
        await change(db, "many", MANY)
        stand.when_sent["many", PAGE] = proxy.turn_away

        async with stand.running():
            await until(lambda: "live.read_failed" in printed())
            before = len(stand.order)
            await proxy.mend()
            await until(lambda: len(stand.order) >= MANY)

    assert before < MANY
    assert stand.got("many") == list(range(1, MANY + 1))


async def test_a_crowd_that_comes_back_leaves_connections_for_others(db: Database, make_stand: MakeStand) -> None:
    stand = make_stand(db)
    await add_user(db, "ada")
    await change(db, "ada", 2 * PAGE)
    readers = [stand.feed.join("ada", Outbox(ROOMY), since=0, current=2 * PAGE) for _ in range(20)]

    async with db.transaction() as connection:
        await connection.execute("LOCK TABLE media_log")  # so that the reads take long
        replaying = [asyncio.create_task(stand.feed.catch_up(reader)) for reader in readers]
        await until(lambda: db.in_use == 1 + MOST_REPLAYS)
        answer = await db.fetch_value("SELECT 'an answer'", timeout_s=5)
    await asyncio.wait_for(asyncio.gather(*replaying), 20)

    assert answer == "an answer"
    assert all(reader.is_live and reader.place == 2 * PAGE for reader in readers)


async def test_a_page_of_thousands_costs_a_page_also_where_the_planner_knows_nothing(db: Database) -> None:
    await add_user(db, "many")
    await change(db, "many", MANY)

    async with db.transaction() as connection:
        rows = await connection.fetch(SQL.changes_after, ["many"], [PAGE], PAGE)
        read = await connection.fetchval(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'media_log'"
        )

    assert [row["seq"] for row in rows] == list(range(PAGE + 1, 2 * PAGE + 1))
    assert read == PAGE
