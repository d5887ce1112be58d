"""Tokens, cookies, passwords and the login throttle, as an attacker meets them."""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import structlog
from aiohttp import ClientResponse

from tests.web.conftest import MakeSite, Person, Site

SIGNED_IN = [
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/ws-token"),
    ("GET", "/api/auth/me"),
    ("PUT", "/api/auth/me"),
    ("GET", "/api/dashboard/ai-workers"),
    ("POST", "/api/dashboard/ai-workers/dispatch"),
    ("GET", "/api/vault"),
    ("DELETE", "/api/vault/all"),
    ("DELETE", "/api/vault/01890000-0000-7000-8000-000000000000"),
    ("POST", "/api/upload/files"),
    ("GET", "/api/upload/recents"),
    ("GET", "/api/upload/ws/updates"),
    ("GET", "/api/map"),
    ("GET", "/api/map/stats"),
    ("GET", "/api/map/01890000-0000-7000-8000-000000000000/logs"),
    ("GET", "/api/media/01890000-0000-7000-8000-000000000000/image"),
    ("GET", "/api/media/01890000-0000-7000-8000-000000000000/thumbnail"),
]


async def test_a_signed_in_route_without_a_token_is_401(site: Site) -> None:
    """SECURITY 3."""
    for method, path in SIGNED_IN:
        answer = await site.client.request(method, path)

        assert answer.status == 401, path
        assert (await answer.json())["code"] == "not_signed_in"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_that_is_not_exactly_ours_is_401(site: Site, ada: Person) -> None:
    """SECURITY 4."""
    key = site.settings.secret_key
    now = datetime.now(UTC)
    whole: dict[str, Any] = {"sub": ada.id, "jti": "j", "iat": now, "exp": now + timedelta(minutes=5)}

    def without(name: str) -> dict[str, Any]:
        return {claim: value for claim, value in whole.items() if claim != name}

    forged = {
        "none": jwt.encode(whole, None, algorithm="none"),
        "HS512": jwt.encode(whole, key * 2, algorithm="HS512"),
        "other key": jwt.encode(whole, "x" * 32),
        "no exp": jwt.encode(without("exp"), key),
        "no jti": jwt.encode(without("jti"), key),
        "no sub": jwt.encode(without("sub"), key),
        "expired": jwt.encode(whole | {"exp": now - timedelta(seconds=1)}, key),
        "for a socket": jwt.encode(whole | {"aud": "ws"}, key),
        "endless": jwt.encode(whole | {"exp": 2**70}, key),
        "number as sub": jwt.encode(whole | {"sub": 7}, key),
        "stranger": jwt.encode(whole | {"sub": "nobody"}, key),
        "cut": ada.token[:-2],
        "text": "....",
    }

    statuses = {name: (await Person(site, ada.id, token).get("/api/auth/me")).status for name, token in forged.items()}

    assert set(statuses.values()) == {401}, statuses
    assert (await Person(site, ada.id, jwt.encode(whole, key)).get("/api/auth/me")).status == 200


async def test_the_token_of_a_deleted_user_is_401(site: Site, ada: Person) -> None:
    """SECURITY 4."""
    await site.db.execute("DELETE FROM app_user")

    assert (await ada.get("/api/auth/me")).status == 401


async def test_after_logout_the_token_is_worth_nothing_on_another_process(
    site: Site, make_site: MakeSite, ada: Person
) -> None:
    """SECURITY 5."""
    other = await make_site()

    await ada.post("/api/auth/logout")

    assert (await Person(other, ada.id, ada.token).get("/api/auth/me")).status == 401


async def test_the_cookie_is_as_the_contract_says_and_the_token_nowhere_else(site: Site) -> None:
    """SECURITY 12 and 35."""
    with structlog.testing.capture_logs() as logged:
        await site.sign_up("ada@example.org")
        answer = await site.log_in("ada@example.org")
        token = answer.cookies["access_token"].value
        await Person(site, "", token).get("/api/auth/me")

    parts = answer.headers["Set-Cookie"].split("; ")
    assert parts[0] == f"access_token={token}"
    assert sorted(parts[1:]) == ["HttpOnly", "Max-Age=3600", "Path=/", "SameSite=None", "Secure"]
    assert token not in await answer.text()
    assert logged
    assert token not in str(logged)
    assert "a long password" not in str(logged)


async def test_the_sixth_wrong_password_is_429_in_any_case_from_anywhere_on_any_process(
    make_site: MakeSite,
) -> None:
    """SECURITY 13."""
    one, other = await make_site(trusted_hops=1), await make_site(trusted_hops=1)
    await one.sign_up("ada@example.org")
    names = ("ada@example.org", "ADA@example.org", "Ada@Example.Org", "ada@example.orG", " ada@example.org")
    for number, name in enumerate(names):
        site = (one, other)[number % 2]
        answer = await site.log_in(name, "wrong", **{"X-Forwarded-For": f"10.0.0.{number}"})
        assert answer.status == 401

    sixth = await other.log_in("ada@example.org", "wrong", **{"X-Forwarded-For": "10.0.0.99"})
    right = await one.log_in("ada@example.org")

    assert (sixth.status, right.status) == (429, 429)
    assert 890 <= int(sixth.headers["Retry-After"]) <= 900


async def test_of_many_guesses_at_once_on_two_processes_five_are_heard(site: Site, make_site: MakeSite) -> None:
    """SECURITY 13."""
    other = await make_site()
    await site.sign_up("ada@example.org")

    answers = await asyncio.gather(
        *(which.log_in("ada@example.org", f"guess {n}") for n in range(8) for which in (site, other))
    )

    assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 11


async def test_an_address_may_fail_twenty_times(site: Site) -> None:
    """SECURITY 13."""
    answers = [await site.log_in(f"{n}@example.org", "wrong") for n in range(21)]

    assert [answer.status for answer in answers] == [401] * 20 + [429]


async def test_failures_are_forgotten_after_a_quarter_of_an_hour(site: Site) -> None:
    await site.sign_up("ada@example.org")
    for _ in range(6):
        await site.log_in("ada@example.org", "wrong")
    await site.db.execute("UPDATE login_failure SET failed_at = failed_at - make_interval(secs => 901)")

    assert (await site.log_in("ada@example.org")).status == 200


async def test_an_unknown_email_gets_the_same_answer_in_the_same_time(make_site: MakeSite) -> None:
    """SECURITY 14."""
    site = await make_site(bcrypt_rounds=9)
    await site.sign_up("ada@example.org")
    took: dict[str, list[float]] = {"ada@example.org": [], "eve@example.org": []}
    bodies = set()

    for _ in range(15):
        for email, times in took.items():
            await site.db.execute("DELETE FROM login_failure")
            started = time.perf_counter()
            answer = await site.log_in(email, "wrong password", **{"X-Request-ID": "same"})
            times.append(time.perf_counter() - started)
            bodies.add((answer.status, await answer.text()))

    known, unknown = (statistics.median(times) for times in took.values())
    assert len(bodies) == 1
    assert abs(known - unknown) / known < 0.1


async def test_x_forwarded_for_counts_only_as_far_as_proxies_are_trusted(make_site: MakeSite) -> None:
    """SECURITY 15."""
    direct, proxied = await make_site(), await make_site(trusted_hops=1)

    async def keys(site: Site, forwarded: str) -> set[str]:
        await site.db.execute("DELETE FROM login_failure")
        await site.log_in("eve@example.org", "wrong", **{"X-Forwarded-For": forwarded})
        rows = await site.db.fetch("SELECT key FROM login_failure WHERE key LIKE 'address:%'")
        return {row["key"] for row in rows}

    assert await keys(direct, "203.0.113.9") == {"address:127.0.0.1"}
    assert await keys(proxied, "203.0.113.9") == {"address:203.0.113.9"}
    assert await keys(proxied, "6.6.6.6, 203.0.113.9") == {"address:203.0.113.9"}
    assert await keys(proxied, "6.6.6.6, nonsense") == {"address:127.0.0.1"}
    assert await keys(proxied, "2001:db8::1") == {"address:2001:db8::"}


async def test_no_part_of_a_long_password_is_ignored(site: Site) -> None:
    """SECURITY 16."""
    password = "🗑" * 17
    for number, last in enumerate(("🗑", "x" * 50)):
        email = f"{number}@example.org"
        made = await site.client.post("/api/auth/signup", json={"email": email, "password": password + last})
        assert made.status == 201

        assert (await site.log_in(email, password + last)).status == 200
        assert (await site.log_in(email, password + last[:-1] + "y")).status == 401


async def test_a_password_is_the_same_however_its_letters_are_composed(site: Site) -> None:
    await site.client.post("/api/auth/signup", json={"email": "ada@example.org", "password": "cafe\u0301 creme"})

    assert (await site.log_in("ada@example.org", "caf\u00e9 creme")).status == 200


async def test_twenty_logins_at_once_leave_the_process_alive(make_site: MakeSite) -> None:
    """SECURITY 17."""
    site = await make_site(bcrypt_rounds=10)
    await site.sign_up("ada@example.org")
    logins = asyncio.gather(*(site.log_in("ada@example.org") for _ in range(20)))
    took: list[float] = []

    async def look() -> ClientResponse:
        started = time.perf_counter()
        answer = await site.client.get("/livez")
        took.append(time.perf_counter() - started)
        return answer

    while not logins.done():
        assert (await look()).status == 200

    assert {answer.status for answer in await logins} == {200}
    assert len(took) > 50
    assert statistics.quantiles(took, n=100)[98] < 0.1
