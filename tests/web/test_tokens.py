"""Refreshing a session, and tokens that open one socket."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from aiohttp import ClientResponse, ClientWebSocketResponse, WSServerHandshakeError

from hyperion.web.keys import SESSION_WATCH
from tests.until import until
from tests.web.conftest import MakeSite, Person, Site

SOCKET = "/api/upload/ws/updates"


def renewed(person: Person, answer: ClientResponse) -> Person:
    """Return the person with the token that the answer sets."""
    return Person(person.site, person.id, answer.cookies["access_token"].value)


def elsewhere(person: Person, site: Site) -> Person:
    """Return the person as a client of another process."""
    return Person(site, person.id, person.token)


async def ws_token(person: Person) -> str:
    answer = await person.post("/api/auth/ws-token")
    assert answer.status == 200
    return str((await answer.json())["token"])


async def connect(site: Site, token: str) -> ClientWebSocketResponse[Any]:
    return await site.client.ws_connect(SOCKET, params={"token": token})


async def refusal(site: Site, token: str) -> int:
    """Return the status with which a socket is refused."""
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(site, token)
    return refused.value.status


async def test_a_refresh_gives_a_new_cookie_for_thirty_minutes(ada: Person) -> None:
    answer = await ada.post("/api/auth/refresh")

    fresh = renewed(ada, answer)
    claims = jwt.decode(fresh.token, options={"verify_signature": False})
    attributes = answer.headers["Set-Cookie"].split("; ")[1:]
    assert (answer.status, await answer.json()) == (200, {"message": "Session refreshed", "expires_in": 1800})
    assert sorted(attributes) == ["HttpOnly", "Max-Age=3600", "Path=/", "SameSite=None", "Secure"]
    assert fresh.token not in await answer.text()
    assert claims["exp"] - claims["iat"] == 1800
    assert (await fresh.get("/api/auth/me")).status == 200


async def test_a_refreshed_token_is_worth_nothing_on_any_process(site: Site, make_site: MakeSite, ada: Person) -> None:
    other = await make_site()

    await ada.post("/api/auth/refresh")

    assert (await ada.get("/api/auth/me")).status == 401
    assert (await elsewhere(ada, other).get("/api/auth/me")).status == 401
    assert (await elsewhere(ada, other).post("/api/auth/refresh")).status == 401


async def test_of_many_refreshes_of_one_token_at_once_one_succeeds(make_site: MakeSite, ada: Person) -> None:
    other = elsewhere(ada, await make_site())

    answers = await asyncio.gather(*(person.post("/api/auth/refresh") for _ in range(5) for person in (ada, other)))

    assert sorted(answer.status for answer in answers) == [200] + [401] * 9
    [won] = [answer for answer in answers if answer.status == 200]
    assert all("Set-Cookie" not in answer.headers for answer in answers if answer is not won)
    assert (await renewed(ada, won).get("/api/auth/me")).status == 200


async def test_a_logout_ends_what_the_token_was_refreshed_to(site: Site, ada: Person) -> None:
    once = renewed(ada, await ada.post("/api/auth/refresh"))
    twice = renewed(ada, await once.post("/api/auth/refresh"))
    socket = await site.client.ws_connect(SOCKET, headers=twice.headers)

    await ada.post("/api/auth/logout")

    assert (await twice.get("/api/auth/me")).status == 401
    assert (await socket.receive(timeout=5)).data == 1008


async def test_a_logout_at_the_moment_of_a_refresh_ends_the_session(site: Site) -> None:
    for number in range(5):
        ada = await site.user(f"{number}@example.org")

        refreshed, _ = await asyncio.gather(ada.post("/api/auth/refresh"), ada.post("/api/auth/logout"))

        assert (await ada.get("/api/auth/me")).status == 401
        if refreshed.status == 200:
            assert (await renewed(ada, refreshed).get("/api/auth/me")).status == 401


async def test_an_open_socket_lives_on_under_the_refreshed_token_until_that_one_ends(
    site: Site, make_site: MakeSite, ada: Person
) -> None:
    """SECURITY 9."""
    other = await make_site()
    sockets = [await which.client.ws_connect(SOCKET, headers=ada.headers) for which in (site, other)]

    twice = ada
    for _ in range(2):
        twice = renewed(ada, await twice.post("/api/auth/refresh"))
    for which in (site, other):
        await which.app[SESSION_WATCH].run_once()
    await twice.photo()

    assert [(await socket.receive_json(timeout=5))["status"] for socket in sockets] == ["PENDING", "PENDING"]
    await twice.post("/api/auth/logout")
    for socket in sockets:
        assert (await socket.receive(timeout=5)).data == 1008


async def test_a_refresh_is_heard_of_before_the_first_token_expires(site: Site, ada: Person) -> None:
    now = datetime.now(UTC)
    claims = {"sub": ada.id, "jti": "short", "iat": now, "exp": now + timedelta(seconds=2)}
    short = Person(site, ada.id, jwt.encode(claims, site.settings.secret_key))
    socket = await site.client.ws_connect(SOCKET, headers=short.headers)

    answer = await short.post("/api/auth/refresh")
    await until(lambda: datetime.now(UTC) > now + timedelta(seconds=2.5))
    await renewed(ada, answer).photo()

    assert (await socket.receive_json(timeout=5))["status"] == "PENDING"


async def test_a_ws_token_opens_one_socket_on_whatever_process(site: Site, make_site: MakeSite, ada: Person) -> None:
    other = await make_site()
    answer = await ada.post("/api/auth/ws-token")
    body = await answer.json()

    opened = await asyncio.gather(
        *(connect(which, body["token"]) for which in (site, other) for _ in range(3)), return_exceptions=True
    )

    assert (answer.status, body.keys(), body["expires_in"]) == (200, {"token", "expires_in"}, 60)
    [socket] = [result for result in opened if isinstance(result, ClientWebSocketResponse)]
    refused = [result.status for result in opened if isinstance(result, WSServerHandshakeError)]
    assert refused == [401] * 5
    await ada.photo()
    assert (await socket.receive_json(timeout=5))["status"] == "PENDING"


async def test_a_ws_token_is_good_for_nothing_but_a_socket(site: Site, ada: Person) -> None:
    """SECURITY 4."""
    token = await ws_token(ada)

    assert (await Person(site, ada.id, token).get("/api/auth/me")).status == 401
    assert (await site.client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})).status == 401
    with pytest.raises(WSServerHandshakeError):
        await site.client.ws_connect(SOCKET, headers={"Cookie": f"access_token={token}"})
    assert not (await connect(site, token)).closed


async def test_a_ws_token_ends_with_its_minute_and_with_its_session(site: Site, ada: Person) -> None:
    token = await ws_token(ada)
    key = site.settings.secret_key
    claims = jwt.decode(token, key, algorithms=["HS256"], audience="ws")
    late = jwt.encode(claims | {"exp": datetime.now(UTC) - timedelta(seconds=1)}, key)
    forged = jwt.encode(claims, "x" * 32)
    bare = jwt.encode({name: value for name, value in claims.items() if name != "session"}, key)
    odd = jwt.encode(claims | {"session": {"sub": ada.id}}, key)

    await ada.post("/api/auth/logout")

    assert claims["exp"] - claims["iat"] == 60
    assert [await refusal(site, which) for which in (late, forged, bare, odd, token)] == [401] * 5


async def test_a_socket_that_a_ws_token_opened_closes_when_its_session_ends(site: Site, ada: Person) -> None:
    """SECURITY 9."""
    socket = await connect(site, await ws_token(ada))

    await ada.post("/api/auth/logout")

    assert (await socket.receive(timeout=5)).data == 1008
