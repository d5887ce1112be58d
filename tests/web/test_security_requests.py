"""Requests that are forged, malformed or far too large."""

import gzip
import itertools
from collections.abc import AsyncIterator

import structlog

from tests.web.conftest import FRONTEND, PASSWORD, Person, Site

SIGNUP = "/api/auth/signup"
JSON = {"Content-Type": "application/json"}


FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": f"{FRONTEND}.evil.example"},
    {"Origin": FRONTEND.replace("https", "http")},
    {"Sec-Fetch-Site": "cross-site"},
]
CHANGES = [
    ("DELETE", "/api/vault/all"),
    ("PUT", "/api/auth/me"),
    ("POST", "/api/auth/logout"),
    ("POST", "/api/auth/login"),
]


async def test_a_change_asked_for_by_a_foreign_page_is_403_before_any_effect(site: Site, ada: Person) -> None:
    """Row 6."""
    await ada.photo()

    for headers, (method, path) in itertools.product(FOREIGN, CHANGES):
        answer = await site.client.request(method, path, headers=ada.headers | headers, json={"full_name": "Eve"})

        assert answer.status == 403, (headers, path)
        assert not [name for name in answer.headers if name.startswith("Access-Control")]

    assert (await (await ada.get("/api/auth/me")).json())["full_name"] == "Unnamed User"
    assert (await (await ada.get("/api/vault")).json())["total"] == 1


async def test_a_change_asked_for_by_a_listed_page_or_by_no_browser_is_made(ada: Person) -> None:
    allowed: list[dict[str, str]] = [
        {"Origin": FRONTEND, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {},
    ]
    for headers in allowed:
        assert (await ada.put("/api/auth/me", json={"full_name": "Ada"}, headers=headers)).status == 200


async def test_json_under_another_name_is_415(site: Site) -> None:
    """Row 7, row 25."""
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=klingon",
        "application/octet-stream",
    ]:
        answer = await site.client.post(SIGNUP, data=b"{}", headers={"Content-Type": content_type})

        assert answer.status == 415, content_type


NO_SENSIBLE_JSON = [
    (b"", 400),
    (b"{", 400),
    (b'{"email": NaN}', 400),
    (b'{"email": "\xff"}', 400),
    (b'{"email": "\\ud800"}', 400),
    (b"[" * 60_000, 422),
    (b'{"x":' + b"[" * 60_000, 400),
    (b"[]", 422),
    (b"null", 422),
    (b'{"email": 9223372036854775808, "password": "long enough"}', 422),
    (b'{"email": "a@b", "email": "c@d", "password": "long enough"}', 400),
    (b'{"email": "a@b\\u0000", "password": "long enough"}', 422),
    (b'{"email": "a@b", "password": "long\\u0000enough"}', 422),
    (b"x" * 70_000, 413),
]


async def test_a_body_that_is_no_sensible_json_is_a_4xx(site: Site) -> None:
    """Row 25."""
    for body, status in NO_SENSIBLE_JSON:
        answer = await site.client.post(SIGNUP, data=body, headers=JSON)

        assert (answer.status, answer.content_type) == (status, "application/problem+json"), body[:80]
    assert await site.db.fetch_value("SELECT count(*) FROM app_user") == 0


async def test_a_gzip_bomb_ends_at_the_limit(site: Site) -> None:
    """Row 33."""
    bomb = gzip.compress(b'{"email":"' + b" " * (16 << 20))

    answer = await site.client.post(SIGNUP, data=bomb, headers=JSON | {"Content-Encoding": "gzip"})

    assert answer.status == 413


async def test_a_small_gzip_body_is_read_and_a_broken_one_is_400(site: Site) -> None:
    packed = gzip.compress(b'{"email": "ada@example.org", "password": "%s"}' % PASSWORD.encode())
    headers = JSON | {"Content-Encoding": "gzip"}

    assert (await site.client.post(SIGNUP, data=packed, headers=headers)).status == 201
    assert (await site.client.post(SIGNUP, data=b"no gzip at all", headers=headers)).status == 400


async def test_an_error_that_nobody_foresaw_is_told_without_its_trace_and_logged_once(site: Site, ada: Person) -> None:
    """Row 28, row 29."""
    await site.db.execute("DROP TABLE media CASCADE")

    with structlog.testing.capture_logs() as logged:
        answer = await ada.get("/api/vault", headers={"X-Request-ID": "r29"})
    text = await answer.text()

    assert (answer.status, answer.content_type) == (500, "application/problem+json")
    assert (await answer.json())["request_id"] == "r29"
    assert "media" not in text
    assert "Traceback" not in text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    [failed] = [entry for entry in logged if entry["event"] == "request.failed"]
    assert failed["exc_info"]


async def test_every_request_leaves_one_line_with_its_route_and_not_its_url(site: Site, ada: Person) -> None:
    with structlog.testing.capture_logs() as logged:
        await ada.get("/api/map/secret-id/logs?token=secret")

    [line] = logged
    assert (line["event"], line["route"], line["status"]) == ("request.served", "/api/map/{id}/logs", 404)
    assert "secret" not in str(line)


async def test_a_request_never_reads_more_than_it_must_of_a_body_that_is_too_large(site: Site) -> None:
    """Row 18."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(64 << 10)

    answer = await site.client.post(SIGNUP, data=endless(), headers=JSON)

    assert answer.status == 413


async def test_a_search_is_literal(ada: Person) -> None:
    """Row 26."""
    for name in ("100%.jpg", "a_b.jpg", "it's.jpg", "plain.jpg"):
        await ada.photo(name)

    found = {}
    for text in ("%", "_", "'", "\\"):
        page = await (await ada.get("/api/vault", params={"search": text})).json()
        found[text] = [item["filename"] for item in page["items"]]

    assert found == {"%": ["100%.jpg"], "_": ["a_b.jpg"], "'": ["it's.jpg"], "\\": []}


NONSENSE = [
    "order_by=evil",
    "direction=up",
    "status=ready",
    "page=0",
    "page=abc",
    "page=1.5",
    f"page={2**63}",
    "page=-1",
    "page_size=101",
    "page_size=NaN",
    "page=1&page=2",
    "search=a%00b",
    "search=" + "x" * 256,
]


async def test_a_query_that_makes_no_sense_is_422(ada: Person) -> None:
    """Row 25, row 26."""
    for query in NONSENSE:
        answer = await ada.get(f"/api/vault?{query}")

        assert answer.status == 422, query
        assert (await answer.json())["errors"][0]["pointer"] == "/" + query.partition("=")[0]
