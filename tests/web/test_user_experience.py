"""Who is there and how long they wait: counted in each process, written behind, told by all alike."""

import asyncio
import time
from typing import Any

import pytest

from hyperion.db import Database
from hyperion.errors import DatabaseUnavailable
from hyperion.web.flusher import Flusher
from hyperion.web.keys import FLUSHER, PRESENCE, TRAFFIC
from hyperion.web.presence import Presence, Seen
from hyperion.web.traffic import Traffic
from tests.chaos.proxy import Proxy
from tests.forgetful import ForgetfulDatabase
from tests.until import until
from tests.web.conftest import MakeSite, Person, Site

EXPERIENCE = "/api/dashboard/user-experience"
ROUTE = ("/api/auth/me", "GET", 200)


class Sightings(Presence):
    """Hands over what a test says was seen, that long ago."""

    def __init__(self, *seen: tuple[str, str, float, float]) -> None:
        super().__init__()
        self._seen = list(seen)

    def take(self, now_s: float) -> tuple[list[Seen], dict[str, float]]:
        seen, self._seen = self._seen, []
        return [Seen(sid, user, now_s - first, now_s - last) for sid, user, first, last in seen], {}


async def shown(person: Person) -> dict[str, Any]:
    answer = await person.get(EXPERIENCE)
    assert answer.status == 200
    body: dict[str, Any] = await answer.json()
    return body


async def see(db: Database, *seen: tuple[str, str, float, float]) -> None:
    """Write down (session, user, seconds since it was first and last seen) as a web process does."""
    await Flusher(db, Traffic(), Sightings(*seen)).run_once()


async def since_midnight_s(db: Database) -> float:
    return float(await db.fetch_value("SELECT extract(epoch FROM now() - date_trunc('day', now(), 'UTC'))::float8"))


async def test_who_asks_is_there(ada: Person) -> None:
    body = await shown(ada)

    assert body["active_now"] == 1
    assert body["active_trend"] == [0, 0, 0, 0, 0, 0, 1]
    assert body["daily_activity"] == [0, 0, 0, 0, 0, 0, 1]
    assert body["last_updated"]


async def test_who_asks_counts_once_whether_written_down_or_not(site: Site, ada: Person) -> None:
    await shown(ada)
    await site.app[FLUSHER].run_once()

    body = await shown(ada)

    assert (body["active_now"], body["active_trend"][-1], body["daily_activity"][-1]) == (1, 1, 1)


async def test_sessions_count_for_five_minutes_and_show_in_the_minutes_they_were_seen_in(
    site: Site, ada: Person
) -> None:
    await see(site.db, ("s1", "bob", 30, 30), ("s2", "bob", 290, 290), ("s3", "eve", 310, 310), ("s4", "eve", 500, 500))
    await see(site.db, ("s2", "bob", 100, 100))

    body = await shown(ada)

    assert body["active_now"] == 3  # s1, s2 and who asks
    assert body["active_trend"] == [0, 1, 1, 0, 0, 1, 2]


async def test_a_session_that_was_ended_is_not_there_any_more(site: Site, ada: Person) -> None:
    bob = await site.user("bob@example.org")
    await bob.get("/api/auth/me")
    await site.app[FLUSHER].run_once()
    before = await shown(ada)

    await bob.post("/api/auth/logout")
    await site.app[FLUSHER].run_once()
    after = await shown(ada)

    assert (before["active_now"], after["active_now"]) == (2, 1)
    assert after["daily_activity"][-1] == 2


async def test_a_late_word_of_an_ended_session_does_not_bring_it_back(site: Site, ada: Person) -> None:
    await see(site.db, ("s1", "bob", 120, 120))
    await site.db.execute("UPDATE web_session SET ended_at = now() - INTERVAL '20 s' WHERE id = 's1'")

    await see(site.db, ("s1", "bob", 60, 25))
    late = (await shown(ada))["active_now"]
    await see(site.db, ("s1", "bob", 5, 5))
    again = (await shown(ada))["active_now"]

    assert (late, again) == (1, 2)


async def test_a_session_with_an_open_socket_stays_there(site: Site, ada: Person) -> None:
    async with site.client.ws_connect("/api/upload/ws/updates", headers=ada.headers):
        await site.app[FLUSHER].run_once()
        seen, _ = site.app[PRESENCE].take(time.monotonic() + 31)
    await until(lambda: not site.app[PRESENCE]._connected)

    assert [one.user_id for one in seen] == [ada.id]


async def test_a_sessions_row_is_touched_at_most_every_30_seconds_by_all_processes_together(site: Site) -> None:
    await see(site.db, ("s1", "bob", 40, 40))
    first = await site.db.fetch_value("SELECT xmin::text FROM web_session")
    await see(site.db, ("s1", "bob", 15, 15))
    second = await site.db.fetch_value("SELECT xmin::text FROM web_session")
    await see(site.db, ("s1", "bob", 5, 5))
    third = await site.db.fetch_value("SELECT xmin::text FROM web_session")

    assert first == second != third


async def test_requests_of_one_session_cause_one_write(site: Site, ada: Person) -> None:
    for _ in range(20):
        await ada.get("/api/auth/me")
    await site.app[FLUSHER].run_once()

    rows = await site.db.fetch("SELECT user_id FROM web_session")
    assert [row["user_id"] for row in rows] == [ada.id]
    assert await site.db.fetch_value("SELECT count(*) FROM session_sight") == 1


async def test_what_a_stranger_sends_makes_no_session(site: Site, ada: Person) -> None:
    await ada.post("/api/auth/logout")
    await site.app[FLUSHER].run_once()
    await site.db.execute("DELETE FROM web_session")

    await ada.get("/api/auth/me")
    await site.client.get("/api/auth/me", headers={"Authorization": "Bearer nonsense"})
    await site.app[FLUSHER].run_once()

    assert await site.db.fetch_value("SELECT count(*) FROM web_session") == 0


async def test_days_end_at_midnight_of_utc_also_for_what_is_written_later(site: Site, ada: Person) -> None:
    midnight_s = await since_midnight_s(site.db)

    await see(
        site.db,
        ("s1", "bob", midnight_s + 30, midnight_s + 30),
        ("s2", "eve", midnight_s + 30, midnight_s - 30),  # from one day into the next
        ("s3", "eve", midnight_s - 30, midnight_s - 30),
        ("s4", "bob", midnight_s + 6 * 86400 - 30, midnight_s + 6 * 86400 - 30),
        ("s5", "bob", midnight_s + 6 * 86400 + 30, midnight_s + 6 * 86400 + 30),
    )
    body = await shown(ada)

    assert body["daily_activity"] == [1, 0, 0, 0, 0, 2, 2]


async def test_sessions_of_several_processes_add_up(make_site: MakeSite) -> None:
    one, other = await make_site(), await make_site()
    ada, bob = await one.user("ada@example.org"), await other.user("bob@example.org")
    elsewhere = Person(other, ada.id, ada.token)

    for person in (ada, bob, elsewhere):
        await person.get("/api/auth/me")
    for site in (one, other):
        await site.app[FLUSHER].run_once()

    for person in (ada, elsewhere):
        body = await shown(person)
        assert (body["active_now"], body["active_trend"][-1], body["daily_activity"][-1]) == (2, 2, 2)


async def test_the_response_time_is_the_mean_over_all_processes_and_five_minutes(
    make_site: MakeSite, site: Site, ada: Person
) -> None:
    now_s = time.monotonic()
    for took_s, ended_s in ((0.1, now_s), (0.2, now_s), (0.6, now_s - 200), (100.0, now_s - 400)):
        traffic = Traffic()
        traffic.count(ROUTE, began_s=ended_s - took_s, ended_s=ended_s)
        await Flusher(site.db, traffic, Presence()).run_once()

    body = await shown(ada)

    assert body["avg_response_time"] == pytest.approx(300)


async def test_a_batch_that_was_written_without_an_answer_counts_once(site: Site, database_url: str) -> None:
    traffic, now_s = Traffic(), time.monotonic()
    async with ForgetfulDatabase(database_url, name="test") as forgetful:
        flusher = Flusher(forgetful, traffic, Sightings(("s1", "ada", 0, 0)))
        forgetful.is_forgetful = True
        for _ in range(3):
            traffic.count(ROUTE, began_s=now_s - 1, ended_s=now_s)
            traffic.count_files(stored=2)
            with pytest.raises(DatabaseUnavailable):
                await flusher.run_once()
        forgetful.is_forgetful = False
        await flusher.run_once()

    assert await site.db.fetch_value("SELECT requests FROM request_total") == 3
    assert await site.db.fetch_value("SELECT sum(requests) FROM request_slot") == 3
    assert await site.db.fetch_value("SELECT files FROM upload_total") == 6


async def test_what_is_counted_while_the_database_is_away_is_written_when_it_is_back(
    make_site: MakeSite, proxy: Proxy, database_url: str
) -> None:
    database = database_url.partition("@/")[2].partition("?")[0]
    site = await make_site(database_url=f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}")
    ada = await site.user("ada@example.org")
    await site.app[FLUSHER].run_once()

    proxy.refuse()
    proxy.cut()
    for _ in range(3):
        assert (await ada.get("/api/auth/me")).status == 503
        with pytest.raises(DatabaseUnavailable):
            await site.app[FLUSHER].run_once()
    await proxy.mend()
    await site.app[FLUSHER].run_once()

    unavailable = await site.db.fetch_value("SELECT requests FROM request_total WHERE status = 503")
    assert unavailable == 3


async def test_the_last_counts_are_written_when_a_process_ends(
    make_site: MakeSite, db: Database, database_url: str
) -> None:
    site = await make_site()
    await site.client.get("/livez")

    await site.client.close()

    rows = await db.fetch("SELECT route, method, status, requests FROM request_total")
    assert [tuple(row) for row in rows] == [("/livez", "GET", 200, 1)]


async def test_processes_that_flush_at_once_do_not_lose_or_block_each_other(site: Site) -> None:
    async def flush(number: int) -> None:
        traffic = Traffic()
        for route in range(30):
            traffic.count((f"/{(route * number) % 31}", "GET", 200), began_s=0, ended_s=time.monotonic())
        seen = [(f"s{(one * number) % 31}", "ada", 1.0, 1.0) for one in range(1, 31)]
        await Flusher(site.db, traffic, Sightings(*seen)).run_once()

    await asyncio.gather(*(flush(number) for number in range(1, 8)))

    assert await site.db.fetch_value("SELECT sum(requests) FROM request_total") == 7 * 30
    assert await site.db.fetch_value("SELECT count(*) FROM web_session") == 30


async def test_counts_do_not_go_back_when_a_process_is_replaced(make_site: MakeSite, db: Database) -> None:
    for expected in (1, 2):
        site = await make_site()
        site.app[TRAFFIC].count(ROUTE, began_s=0, ended_s=1)
        await site.client.close()

        assert await db.fetch_value("SELECT requests FROM request_total") == expected
