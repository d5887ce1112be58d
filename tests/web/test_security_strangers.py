"""What others get: of somebody's photos, from another page, from outside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from aiohttp import ClientSession, UnixConnector, web

from tests.web.conftest import Person, Site


async def total(person: Person) -> int:
    count: int = (await (await person.get("/api/vault")).json())["total"]
    return count


async def test_deleting_all_says_how_many_and_spares_other_users(ada: Person, bob: Person) -> None:
    """Row 2."""
    for _ in range(3):
        await ada.photo()

    by_bob = await (await bob.delete("/api/vault/all")).json()
    assert by_bob == {"detail": "No media found to delete", "deleted_count": 0}
    assert await total(ada) == 3

    by_ada = await (await ada.delete("/api/vault/all")).json()
    assert by_ada == {"detail": "All media deleted successfully", "deleted_count": 3}


async def test_nobody_sees_or_deletes_another_users_photo(site: Site, ada: Person, bob: Person) -> None:
    """Row 1."""
    media_id = await ada.photo()
    await site.db.execute("INSERT INTO media_thumbnail (media_id, content) VALUES ($1, 'x')", media_id)
    unknown = UUID(int=7 << 76 | 2 << 62)

    for method, path in (
        ("DELETE", "/api/vault/{}"),
        ("GET", "/api/media/{}/image"),
        ("GET", "/api/media/{}/thumbnail"),
        ("GET", "/api/map/{}/logs"),
    ):
        answers = [
            await site.client.request(method, path.format(which), headers=bob.headers | {"X-Request-ID": "same"})
            for which in (media_id, unknown)
        ]
        assert [answer.status for answer in answers] == [404, 404]
        assert await answers[0].read() == await answers[1].read()

    assert await total(bob) == 0
    assert await total(ada) == 1


async def test_every_answer_carries_the_security_headers(site: Site, ada: Person) -> None:
    """Row 28: success, errors of every kind, also one that nobody foresaw."""
    await site.db.execute("DROP TABLE socket_place")
    asked = [
        ("GET", "/", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/livez", 405),
        ("GET", "/api/auth/me", 200),
        ("POST", "/api/auth/login", 415),
        ("GET", "/api/vault?page=0", 422),
        ("GET", "/api/upload/ws/updates", 500),
    ]

    for method, path, status in asked:
        answer = await site.client.request(method, path, headers=ada.headers)

        assert answer.status == status, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Server"] == "Hyperion"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "max-age" in answer.headers["Strict-Transport-Security"]
        assert answer.headers["X-Request-ID"]


async def test_a_preflight_from_an_unlisted_origin_gets_403_without_cors_headers(site: Site) -> None:
    """Row 27."""
    answer = await site.client.options(
        "/api/auth/me", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    )

    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_the_numbers_of_the_process_are_for_this_machine_and_who_has_the_token(
    site: Site, tmp_path: Path
) -> None:
    """Row 30: from elsewhere there is no such path, with a wrong token or through a proxy on this machine neither."""
    wrong = {"Authorization": "Bearer wrong"}
    forwarded = {"X-Forwarded-For": "203.0.113.9"}

    # Whoever comes by a Unix socket has no address, and so not this machine's.
    async with serve_on(site.app, tmp_path / "socket") as elsewhere:
        answers = [await elsewhere.get("http://x/metrics", headers=headers) for headers in ({}, wrong)]
    answers += [await site.client.get("/metrics", headers=forwarded | headers) for headers in ({}, wrong)]

    assert [answer.status for answer in answers] == [404] * 4


@asynccontextmanager
async def serve_on(app: web.Application, path: Path) -> AsyncIterator[ClientSession]:
    server = await asyncio.get_running_loop().create_unix_server(cast(Any, app)._make_handler(), path)
    async with ClientSession(connector=UnixConnector(str(path))) as client:
        yield client
    server.close()
