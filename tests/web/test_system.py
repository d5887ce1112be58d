"""Liveness, readiness, health, and what is on every answer."""

import time

from tests.web.conftest import FRONTEND, MakeSite, Site


async def test_the_root_says_that_the_api_is_running(site: Site) -> None:
    answer = await site.client.get("/")

    assert (answer.status, await answer.json()) == (200, {"message": "Hyperion API is running"})


async def test_health_tells_that_the_database_is_up(site: Site) -> None:
    answer = await site.client.get("/api/health")
    body = await answer.json()

    assert answer.status == 200
    assert body["status"] == "healthy"
    assert body["components"] == {"api": "up", "database": "up"}
    assert abs(body["timestamp"] - time.time()) < 5
    assert body["database_latency_ms"] > 0


async def test_without_a_database_health_answers_503_within_two_seconds(make_site: MakeSite) -> None:
    site = await make_site(database_url="postgresql://nobody@127.0.0.1:1/none")
    started = time.monotonic()

    answer = await site.client.get("/api/health")
    body = await answer.json()

    assert time.monotonic() - started < 2
    assert answer.status == 503
    assert (body["status"], body["components"]["database"], body["database_latency_ms"]) == ("unhealthy", "down", None)


async def test_without_a_database_a_request_gets_503_and_when_to_come_back(make_site: MakeSite) -> None:
    site = await make_site(database_url="postgresql://nobody@127.0.0.1:1/none")

    answer = await site.log_in("ada@example.org")

    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert (await answer.json())["code"] == "database_unavailable"


async def test_the_process_is_alive_even_without_a_database(make_site: MakeSite) -> None:
    site = await make_site(database_url="postgresql://nobody@127.0.0.1:1/none")

    assert (await site.client.get("/livez")).status == 200
    assert (await site.client.get("/readyz")).status == 503


async def test_readiness_lists_its_checks_when_asked_to(site: Site) -> None:
    plain = await (await site.client.get("/readyz")).json()
    verbose = await (await site.client.get("/readyz?verbose")).json()

    assert plain == {"status": "ready"}
    assert verbose["checks"] == {"database": "ok", "schema": "ok", "lifecycle": "ok"}


async def test_a_well_formed_request_id_comes_back_and_another_is_replaced(site: Site) -> None:
    kept = await site.client.get("/livez", headers={"X-Request-ID": "abc-1.2_3"})
    replaced = await site.client.get("/livez", headers={"X-Request-ID": "no spaces, please"})

    assert kept.headers["X-Request-ID"] == "abc-1.2_3"
    assert replaced.headers["X-Request-ID"] not in ("", "no spaces, please")


async def test_an_unknown_path_and_method_are_problems_with_the_request_id(site: Site) -> None:
    missing = await site.client.get("/nowhere", headers={"X-Request-ID": "r1"})
    wrong = await site.client.delete("/livez")

    assert (missing.status, missing.content_type) == (404, "application/problem+json")
    body = await missing.json()
    assert (body["request_id"], body["code"], body["status"]) == ("r1", "not_found", 404)
    assert {"type", "title", "detail"} <= body.keys()
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET,HEAD")


async def test_a_preflight_from_a_listed_origin_is_answered_with_what_is_allowed(site: Site) -> None:
    answer = await site.client.options(
        "/api/auth/me", headers={"Origin": FRONTEND, "Access-Control-Request-Method": "PUT"}
    )

    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == FRONTEND
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]


async def test_a_listed_origin_can_read_errors_too(site: Site) -> None:
    answer = await site.client.get("/api/auth/me", headers={"Origin": FRONTEND})

    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, FRONTEND)
    assert answer.headers["Vary"] == "Origin"
