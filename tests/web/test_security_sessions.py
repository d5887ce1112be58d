"""Tokens, cookies, passwords and the login throttle, as an attacker meets them."""

import asyncio
import base64
import math
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import bcrypt
import jwt
import pytest
import structlog

from hyperion.web import passwords
from hyperion.web.routes import ROUTES
from tests.until import until
from tests.web.conftest import PASSWORD, MakeSite, Person, Site

SIGNED_IN = [route for route in ROUTES if route.needs_session or route.status == 101]


async def test_a_signed_in_route_without_a_token_is_401(site: Site, ada: Person) -> None:
    """Row 3."""
    media_id = await ada.photo()
    assert len(SIGNED_IN) >= 15
    for route in SIGNED_IN:
        answer = await site.client.request(route.method, route.path.replace("{id}", str(media_id)))

        assert answer.status == 401, route.path
        assert (await answer.json())["code"] == "not_signed_in"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await (await ada.get("/api/vault")).json())["total"] == 1
    assert await site.db.fetch_value("SELECT count(*) FROM revoked_token") == 0


async def test_a_token_that_is_not_exactly_ours_is_401(site: Site, ada: Person) -> None:
    """Row 4."""
    key = site.settings.secret_key
    now = datetime.now(UTC)
    whole: dict[str, Any] = {"sub": ada.id, "jti": "j", "iat": now, "exp": now + timedelta(minutes=5)}

    def without(name: str) -> dict[str, Any]:
        return {claim: value for claim, value in whole.items() if claim != name}

    forged = {
        "none": jwt.encode(whole, None, algorithm="none"),
        "RS256": _renamed(jwt.encode(whole, key), alg="RS256"),
        "none, signed": _renamed(jwt.encode(whole, key), alg="none"),
        "HS512": jwt.encode(whole, key * 2, algorithm="HS512"),
        "other key": jwt.encode(whole, "x" * 32),
        "no exp": jwt.encode(without("exp"), key),
        "no jti": jwt.encode(without("jti"), key),
        "no sub": jwt.encode(without("sub"), key),
        "expired": jwt.encode(whole | {"exp": now - timedelta(seconds=1)}, key),
        "for a socket": jwt.encode(whole | {"aud": "ws"}, key),
        "endless": jwt.encode(whole | {"exp": 2**70}, key),
        "number as sub": jwt.encode(whole | {"sub": 7}, key),
        "NUL in sub": jwt.encode(whole | {"sub": "a\0"}, key),
        "half a letter as jti": jwt.encode(whole | {"jti": "\ud800"}, key),
        "list as session": jwt.encode(whole | {"sid": ["s"]}, key),
        "stranger": jwt.encode(whole | {"sub": "nobody"}, key),
        "cut": ada.token[:-2],
        "text": "....",
    }

    statuses = {name: (await Person(site, ada.id, token).get("/api/auth/me")).status for name, token in forged.items()}

    assert set(statuses.values()) == {401}, statuses
    assert (await Person(site, ada.id, jwt.encode(whole, key)).get("/api/auth/me")).status == 200


def _renamed(token: str, *, alg: str) -> str:
    """Return the token with another algorithm in its header and its own signature."""
    header = base64.urlsafe_b64encode(b'{"alg":"%s","typ":"JWT"}' % alg.encode()).rstrip(b"=").decode()
    return ".".join([header, *token.split(".")[1:]])


async def test_the_token_of_a_deleted_user_is_401(site: Site, ada: Person) -> None:
    """Row 4."""
    await site.db.execute("DELETE FROM app_user")

    assert (await ada.get("/api/auth/me")).status == 401


async def test_after_logout_the_token_is_worth_nothing_on_another_process(
    site: Site, make_site: MakeSite, ada: Person
) -> None:
    """Row 5."""
    other = await make_site()

    await ada.post("/api/auth/logout")

    assert (await Person(other, ada.id, ada.token).get("/api/auth/me")).status == 401


async def test_requests_that_come_in_together_are_each_answered_for_their_own_token(
    site: Site, ada: Person, bob: Person
) -> None:
    """Row 5. They share the query that looks their tokens up."""
    now = datetime.now(UTC)
    whole = {"sub": ada.id, "jti": "another", "iat": now, "exp": now + timedelta(minutes=5)}
    gone, stranger = (
        Person(site, ada.id, jwt.encode(claims, site.settings.secret_key)) for claims in (whole, whole | {"sub": "x"})
    )
    await gone.post("/api/auth/logout")
    everybody = [ada, gone, bob, stranger] * 5

    answers = await asyncio.gather(*(person.get("/api/auth/me") for person in everybody))

    assert [answer.status for answer in answers] == [200, 401, 200, 401] * 5
    who = [(await answer.json())["id"] for answer in answers if answer.status == 200]
    assert who == [ada.id, bob.id] * 5


async def test_the_cookie_is_as_the_contract_says_and_the_token_nowhere_else(site: Site) -> None:
    """Row 12, row 35."""
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
    """Row 13."""
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


async def test_failures_count_on_after_a_restart(site: Site, make_site: MakeSite) -> None:
    """Row 13."""
    await site.sign_up("ada@example.org")
    for _ in range(5):
        await site.log_in("ada@example.org", "wrong")
    await site.client.close()

    restarted = await make_site()

    assert (await restarted.log_in("ada@example.org")).status == 429


async def test_of_many_guesses_at_once_on_two_processes_five_are_heard(site: Site, make_site: MakeSite) -> None:
    """Row 13."""
    other = await make_site()
    await site.sign_up("ada@example.org")

    answers = await asyncio.gather(
        *(which.log_in("ada@example.org", f"guess {n}") for n in range(8) for which in (site, other))
    )

    assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 11


async def test_an_address_may_fail_twenty_times(site: Site) -> None:
    """Row 13."""
    answers = [await site.log_in(f"{n}@example.org", "wrong") for n in range(21)]

    assert [answer.status for answer in answers] == [401] * 20 + [429]


async def test_failures_are_forgotten_after_a_quarter_of_an_hour(site: Site) -> None:
    await site.sign_up("ada@example.org")
    for _ in range(6):
        await site.log_in("ada@example.org", "wrong")
    await site.db.execute("UPDATE login_failure SET failed_at = failed_at - make_interval(secs => 901)")

    assert (await site.log_in("ada@example.org")).status == 200


async def test_an_unknown_email_gets_the_same_answer_for_the_same_work(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 14: the work is counted, since a clock also tells of what else the machine does."""
    site = await make_site(bcrypt_rounds=9)
    await site.sign_up("ada@example.org")
    work: dict[str, list[tuple[str, int]]] = {"ada@example.org": [], "eve@example.org": []}
    fastest_s = dict.fromkeys(work, math.inf)
    bodies = set()
    compare = bcrypt.checkpw

    for email, done in [*work.items()] * 5:
        await site.db.execute("DELETE FROM login_failure")

        def counted(password: bytes, kept_hash: bytes, done: list[tuple[str, int]] = done) -> bool:
            done.append((kept_hash[:7].decode(), len(kept_hash)))
            return compare(password, kept_hash)

        monkeypatch.setattr(bcrypt, "checkpw", counted)
        started_s = time.process_time()
        answer = await site.log_in(email, "wrong password", **{"X-Request-ID": "same"})
        fastest_s[email] = min(fastest_s[email], time.process_time() - started_s)
        bodies.add((answer.status, await answer.text()))

    assert len(bodies) == 1
    assert work["ada@example.org"] == work["eve@example.org"] == [("$2b$09$", 60)] * 5
    known_s, unknown_s = fastest_s.values()
    assert 1 / 2 < known_s / unknown_s < 2


async def test_x_forwarded_for_counts_only_as_far_as_proxies_are_trusted(make_site: MakeSite) -> None:
    """Row 15."""
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
    """Row 16."""
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


async def test_twenty_logins_at_once_leave_the_process_alive(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 17: no password is done before others were served."""
    await site.sign_up("ada@example.org")
    is_checking, others_were_served = threading.Event(), threading.Event()
    compare = bcrypt.checkpw

    def slow(password: bytes, kept_hash: bytes) -> bool:
        is_checking.set()
        return others_were_served.wait(10) and compare(password, kept_hash)

    monkeypatch.setattr(bcrypt, "checkpw", slow)
    logins = asyncio.gather(*(site.log_in("ada@example.org") for _ in range(20)))
    await until(is_checking.is_set)

    for _ in range(20):
        assert (await site.client.get("/livez")).status == 200
    others_were_served.set()

    assert {answer.status for answer in await logins} == {200}


async def test_when_too_many_wait_for_their_password_to_be_checked_the_next_is_503(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MOST_WAITING", 0)

    answer = await site.sign_up("ada@example.org")

    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_a_password_longer_than_any_is_refused_before_it_costs_anything(site: Site) -> None:
    combining = "a" + "\u0301\u0323" * 512

    answer = await site.log_in("ada@example.org", combining)

    assert answer.status == 422
    assert await site.db.fetch_value("SELECT count(*) FROM login_failure") == 0


SAME_ADDRESS = [
    ("caf\u00e9@example.org", "cafe\u0301@example.org"),
    ("ada@example.org", "\uff41da@example.org"),
    ("kelvin@example.org", "\u212aelvin@example.org"),
    ("ada@example.net", "\u2003ada@example.net "),
]


async def test_addresses_that_look_the_same_are_the_same(site: Site) -> None:
    for one, other in SAME_ADDRESS:
        assert (await site.sign_up(one)).status == 201

        assert (await site.sign_up(other)).status == 400, other
        assert (await site.log_in(other)).status == 200, other


async def test_an_old_account_whose_spelling_looks_like_anothers_is_known_by_its_own(site: Site) -> None:
    await site.sign_up("fina@example.org")
    old = await site.user("old@example.org")
    await site.db.execute("UPDATE app_user SET email = $2 WHERE id = $1", old.id, "\ufb01na@example.org")

    found = {
        name: (await (await site.log_in(name)).json())["user"]["id"] == old.id
        for name in ("\ufb01na@example.org", " \ufb01NA@Example.org", "fina@example.org")
    }

    assert list(found.values()) == [True, True, False]


async def test_a_login_never_takes_over_a_token_that_the_client_brings(site: Site, ada: Person, bob: Person) -> None:
    answer = await site.client.post(
        "/api/auth/login", json={"email": "ada@example.org", "password": PASSWORD}, headers=bob.headers
    )

    token = answer.cookies["access_token"].value
    assert token not in (ada.token, bob.token)
    assert (await (await Person(site, "", token).get("/api/auth/me")).json())["id"] == ada.id
    assert (await (await bob.get("/api/auth/me")).json())["id"] == bob.id
