"""What Prometheus is told, and who may hear it."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hyperion import queue
from hyperion.media.store import state as store_state
from hyperion.queue import Claimer, NewTask
from hyperion.web.exposition import STORE_STATES
from hyperion.web.keys import FLUSHER
from tests.web.conftest import MakeSite, Person, Site
from tests.web.test_dashboard import add_worker

TOKEN = "a-token-of-some-length"
DURATION = "http_server_request_duration_seconds"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(site: Site, **headers: str) -> Samples:
    """Return the values of all samples, by name and labels; the text is what Prometheus' own parser takes."""
    answer = await site.client.get("/metrics", headers=headers)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = [s for family in text_string_to_metric_families(await answer.text()) for s in family.samples]
    found = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples}
    assert len(found) == len(samples), "a series is there twice"
    return found


def labels(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(given.items()))


def requests(samples: Samples, route: str, *, method: str = "GET", status: str = "200") -> float:
    key = labels(http_route=route, http_request_method=method, http_response_status_code=status)
    return samples.get((f"{DURATION}_count", key), 0)


async def test_a_fresh_system_tells_all_its_metrics(site: Site) -> None:
    await add_worker(site.db, "Helios")

    names = {name for name, _ in await scrape(site)}

    assert names >= {
        "hyperion_queue_tasks",
        "hyperion_queue_oldest_seconds",
        "hyperion_actor_heartbeat_age_seconds",
        "hyperion_actor_restarts_total",
        "hyperion_uploads_total",
        "hyperion_ws_connections",
        "hyperion_db_pool_in_use",
        "hyperion_event_loop_lag_seconds",
    }


async def test_a_store_that_pauses_says_so_and_until_when(site: Site) -> None:
    await store_state.load(site.db, site.store.name, late_s=1)  # as an archiver does when it starts
    await store_state.report(site.db, site.store.name, "throttled", "in a minute", pause_s=60)

    samples = await scrape(site)

    states = {state: samples["hyperion_store_state", labels(state=state)] for state in STORE_STATES}
    assert states == {"ready": 0, "throttled": 1, "refused": 0, "away": 0}
    assert 50 < samples["hyperion_store_resumes_timestamp_seconds", ()] - time.time() <= 61


async def test_requests_are_told_by_route_method_and_status_of_every_process(make_site: MakeSite) -> None:
    one, other = await make_site(), await make_site()
    for site in (one, one, other):
        await site.client.get("/livez")
        await site.client.get("/api/media/0190a0a0-0000-7000-8000-000000000000/image")
        await site.app[FLUSHER].run_once()

    first, second = await scrape(one), await scrape(other)

    assert requests(first, "/livez") == 3
    assert requests(first, "/api/media/{id}/image", status="401") == 3
    assert first.items() >= {key: value for key, value in second.items() if key[0].startswith(DURATION)}.items()


async def test_the_histogram_is_cumulative_and_ends_with_all(site: Site) -> None:
    for _ in range(3):
        await site.client.get("/livez")
    await site.app[FLUSHER].run_once()

    samples = await scrape(site)

    buckets = [
        (float(dict(key)["le"]), value)
        for (name, key), value in samples.items()
        if name == f"{DURATION}_bucket" and ("http_route", "/livez") in key
    ]
    assert [value for _, value in sorted(buckets)] == sorted(value for _, value in buckets)
    assert max(buckets) == (float("inf"), 3)


async def test_paths_and_methods_that_strangers_invent_are_one_series_each(site: Site) -> None:
    for method in ("PROPFIND", "LOCK", "SEARCH"):
        await site.client.get(f"/nowhere/{method}")
        await site.client.request(method, "/livez")
    await site.app[FLUSHER].run_once()

    samples = await scrape(site)

    assert requests(samples, "unmatched", status="404") == 3
    assert requests(samples, "unmatched", method="_OTHER", status="405") == 3
    assert not [key for key in samples if "nowhere" in str(key) or "LOCK" in str(key)]


async def test_no_label_tells_of_a_user_or_a_photo(site: Site, ada: Person) -> None:
    media_id = await ada.photo("secret.jpg")
    await ada.get(f"/api/media/{media_id}/image")
    await site.app[FLUSHER].run_once()

    text = await (await site.client.get("/metrics")).text()

    assert not [word for word in (ada.id, "ada@", str(media_id), "secret", ada.token) if word in text]
    assert "/api/media/{id}/image" in text


async def test_the_queue_is_told_by_lane_and_state(site: Site) -> None:
    async with site.db.transaction() as connection:
        await queue.enqueue(connection, [NewTask(lane="analyse", kind="simulate")] * 3)
        await connection.execute("UPDATE task SET created_at = now() - INTERVAL '90 s'")
    await Claimer(site.db, lane="analyse", boot=1, lease_s=60).claim(1)

    samples = await scrape(site)

    def tasks(lane: str, state: str) -> float:
        return samples["hyperion_queue_tasks", labels(lane=lane, state=state)]

    assert [tasks("analyse", state) for state in ("ready", "leased", "scheduled", "dead")] == [2, 1, 0, 0]
    assert [tasks("archive", state) for state in ("ready", "leased", "scheduled", "dead")] == [0, 0, 0, 0]
    assert samples["hyperion_queue_oldest_seconds", labels(lane="analyse")] == pytest.approx(90, abs=10)
    assert samples["hyperion_queue_oldest_seconds", labels(lane="archive")] == 0


async def test_actors_are_told_with_their_beats_and_what_they_did(site: Site) -> None:
    await add_worker(site.db, "Helios", silent_s=3.0)
    await add_worker(site.db, "Eos", silent_s=500.0)
    await add_worker(site.db, "web", kind="web")
    await site.db.execute("UPDATE actor SET loop_lag_s = 0.25, pool_in_use = 2, open_sockets = 7")
    await site.db.execute(
        """
        INSERT INTO actor_total (label, restarts, lane, done, failed, duration_s, buckets, counted_at)
        VALUES
            ('Helios', 4, 'analyse', 10, 1, 220, '{0,0,0,0,0,0,0,10,1,0,0,0,0}', now()),
            ('Long gone', 1, 'analyse', 5, 0, 5, '{0,0,0,5,0,0,0,0,0,0,0,0,0}', now() - INTERVAL '30 days')
        """
    )

    samples = await scrape(site)

    helios = labels(actor="Helios")
    assert samples["hyperion_actor_heartbeat_age_seconds", helios] == pytest.approx(3, abs=2)
    assert samples["hyperion_event_loop_lag_seconds", helios] == 0.25
    assert ("hyperion_event_loop_lag_seconds", labels(actor="Eos")) not in samples
    assert samples["hyperion_actor_restarts_total", helios] == 4
    assert samples["hyperion_actor_restarts_total", labels(actor="Eos")] == 0
    assert samples["hyperion_tasks_completed_total", labels(actor="Helios", outcome="done")] == 10
    assert samples["hyperion_tasks_completed_total", labels(actor="Helios", outcome="failed")] == 1
    assert not [key for key in samples if "Long gone" in str(key)]
    # Who is gone still counts for the lane, or that would go back.
    assert samples["hyperion_task_duration_seconds_count", labels(lane="analyse")] == 16
    assert samples["hyperion_task_duration_seconds_sum", labels(lane="analyse")] == 225
    assert samples["hyperion_task_duration_seconds_bucket", labels(lane="analyse", le="25.0")] == 15
    # Eos has been silent for too long to have any.
    assert (samples["hyperion_ws_connections", ()], samples["hyperion_db_pool_in_use", ()]) == (14, 4)


async def test_uploaded_files_are_counted_by_what_became_of_them(site: Site, ada: Person) -> None:
    await ada.photo()
    await ada.upload(("a.jpg", b"no photo"))
    await site.app[FLUSHER].run_once()

    samples = await scrape(site)

    uploads = "hyperion_uploads_total"
    assert (samples[uploads, labels(result="stored")], samples[uploads, labels(result="rejected")]) == (1, 1)


async def test_an_open_socket_is_no_request_that_takes_long(site: Site, ada: Person) -> None:
    async with site.client.ws_connect("/api/upload/ws/updates", headers=ada.headers):
        pass
    await ada.get("/api/auth/me")
    await site.app[FLUSHER].run_once()

    samples = await scrape(site)

    assert requests(samples, "/api/auth/me") == 1
    assert not [key for key in samples if "/api/upload/ws/updates" in str(key)]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_through_a_proxy_on_this_machine_nobody_is_local(site: Site, header: str) -> None:
    """SECURITY 30."""
    for claimed in ("127.0.0.1", "203.0.113.9"):
        answer = await site.client.get("/metrics", headers={header: claimed})

        assert answer.status == 404


async def test_from_outside_only_the_token_opens(make_site: MakeSite) -> None:
    """SECURITY 30."""
    site, closed = await make_site(metrics_token=TOKEN), await make_site()
    outside = {"X-Forwarded-For": "203.0.113.9"}

    tried = [
        (await given.client.get("/metrics", headers=outside | headers)).status
        for given, headers in (
            (site, {"Authorization": f"Bearer {TOKEN}"}),
            (site, {"Authorization": f"bearer {TOKEN}"}),
            (site, {"Authorization": f"Bearer {TOKEN[:-1]}"}),
            (site, {"Authorization": TOKEN}),
            (site, {"Authorization": "Bearer "}),
            (site, {"Authorization": "Bearer \u00e9\u00e8"}),
            (site, {}),
            (closed, {"Authorization": "Bearer "}),
            (closed, {"Authorization": f"Bearer {TOKEN}"}),
        )
    ]

    assert tried == [200, 200, 404, 404, 404, 404, 404, 404, 404]


async def test_who_may_not_scrape_gets_the_answer_of_an_unknown_path(site: Site) -> None:
    """SECURITY 30."""
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "r1"}

    refused = await site.client.get("/metrics", headers=headers)
    unknown = await site.client.get("/nowhere", headers=headers)

    assert (refused.status, await refused.text()) == (unknown.status, await unknown.text())
