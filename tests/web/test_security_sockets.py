"""Live sockets: who may open one, how many, what may be sent through it, and when it is closed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import structlog
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError

from hyperion.actors import mailbox
from hyperion.web.keys import SESSION_WATCH
from hyperion.web.places import PLACES_PER_USER, SQL, SocketPlaces
from tests.until import until
from tests.web.conftest import MakeSite, Person, Site

PATH = "/api/upload/ws/updates"

Socket = ClientWebSocketResponse[Any]


async def connect(person: Person, site: Site | None = None) -> Socket:
    return await (site or person.site).client.ws_connect(PATH, headers=person.headers)


async def status_of_another(person: Person, site: Site | None = None) -> int:
    """Try to open one more socket; return the status, 101 where it opened, in which case it is closed again."""
    try:
        socket = await connect(person, site)
    except WSServerHandshakeError as refused:
        return refused.status
    await socket.close()
    return 101


async def test_a_users_changes_are_on_nobody_elses_socket(ada: Person, bob: Person) -> None:
    """Row 10."""
    of_bob = await connect(bob)

    await ada.photo()
    own = await bob.photo()

    first = await of_bob.receive_json(timeout=5)
    assert first["media_id"] == str(own)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Cookie": "access_token=nonsense"}, 401),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_a_socket_is_refused_before_the_upgrade(
    site: Site, ada: Person, headers: dict[str, str], status: int
) -> None:
    """Row 8."""
    headers = headers | (ada.headers if "Origin" in headers else {})

    with pytest.raises(WSServerHandshakeError) as refused:
        await site.client.ws_connect(PATH, headers=headers)

    assert refused.value.status == status


@pytest.mark.parametrize("size_bytes", [65 << 10, (64 << 10) + 1])
async def test_a_frame_of_more_than_64_kib_from_the_client_closes_the_socket(ada: Person, size_bytes: int) -> None:
    """Row 11."""
    socket = await connect(ada)

    await socket.send_bytes(bytes(size_bytes))

    await socket.receive(timeout=5)
    assert socket.close_code == 1009


async def test_a_frame_of_64_kib_from_the_client_is_no_offence(ada: Person) -> None:
    socket = await connect(ada)

    await socket.send_bytes(bytes(64 << 10))
    await ada.photo()

    assert (await socket.receive_json(timeout=5))["status"] == "PENDING"


async def test_logging_out_on_one_process_closes_the_sockets_on_all(
    site: Site, make_site: MakeSite, ada: Person
) -> None:
    """Row 9."""
    other = await make_site()
    sockets = [await connect(ada), await connect(ada, other)]

    await ada.post("/api/auth/logout")

    for socket in sockets:
        await socket.receive(timeout=5)
        assert socket.close_code == 1008


async def test_a_revocation_that_no_bell_announced_is_found_all_the_same(site: Site, ada: Person) -> None:
    """Row 9."""
    socket = await connect(ada)

    await site.db.execute("DELETE FROM app_user WHERE id = $1", ada.id)

    assert await site.app[SESSION_WATCH].run_once() == 1
    await socket.receive(timeout=5)
    assert socket.close_code == 1008


async def test_a_socket_does_not_outlive_its_token(site: Site, ada: Person) -> None:
    """Row 9."""
    now = datetime.now(UTC)
    claims = {"sub": ada.id, "jti": "short", "iat": now, "exp": now + timedelta(seconds=2)}
    socket = await connect(Person(site, ada.id, jwt.encode(claims, site.settings.secret_key)))

    await socket.receive(timeout=5)

    assert socket.close_code == 1008


async def test_a_foreign_page_with_a_valid_cookie_is_refused_whatever_it_puts_into_the_url(
    site: Site, ada: Person
) -> None:
    """Row 8: the token in the URL does not outweigh the page that sends it."""
    with pytest.raises(WSServerHandshakeError) as refused:
        await site.client.ws_connect(PATH, params={"token": ada.token}, headers={"Origin": "https://evil.example"})

    assert refused.value.status == 403


async def test_the_21st_socket_of_a_user_is_refused_on_every_process(
    site: Site, make_site: MakeSite, ada: Person, bob: Person
) -> None:
    """Row 11."""
    other = await make_site()
    sockets = [await connect(ada, (site, other)[number % 2]) for number in range(PLACES_PER_USER)]

    refused = [await status_of_another(ada), await status_of_another(ada, other)]

    assert refused == [429, 429]
    assert await status_of_another(bob) == 101
    await sockets[0].close()
    assert await until(lambda: status_is_open(ada, other))


async def test_of_forty_sockets_at_once_on_two_processes_twenty_open(
    site: Site, make_site: MakeSite, ada: Person
) -> None:
    """Row 11."""
    other = await make_site()

    opened = await asyncio.gather(
        *(connect(ada, which) for _ in range(PLACES_PER_USER) for which in (site, other)), return_exceptions=True
    )

    refused = [socket.status for socket in opened if isinstance(socket, WSServerHandshakeError)]
    assert refused == [429] * PLACES_PER_USER


async def test_of_two_processes_that_take_the_last_place_at_once_one_gets_it(
    site: Site, make_site: MakeSite, ada: Person
) -> None:
    """Row 11."""
    await make_site()
    one, other = (row["boot"] for row in await site.db.fetch("SELECT boot FROM actor ORDER BY boot"))
    sockets = [await connect(ada) for _ in range(PLACES_PER_USER - 1)]

    async with site.db.transaction() as connection:
        first = await connection.fetchval(SQL.take_place, ada.id, one, PLACES_PER_USER, 60.0)
        taking = asyncio.create_task(site.db.fetch_value(SQL.take_place, ada.id, other, PLACES_PER_USER, 60.0))
        await until(lambda: somebody_waits(site))

    assert (first is not None, await taking) == (True, None)
    assert not any(socket.closed for socket in sockets)


async def test_the_sockets_of_a_process_that_died_take_no_places(site: Site, make_site: MakeSite, ada: Person) -> None:
    """Row 11."""
    other = await make_site()
    sockets = [await connect(ada, other) for _ in range(PLACES_PER_USER)]
    assert await status_of_another(ada) == 429

    await site.db.execute("UPDATE actor SET state = 'gone' WHERE boot = (SELECT min(boot) FROM socket_place)")

    assert await status_of_another(ada) == 101
    assert not any(socket.closed for socket in sockets)


async def test_places_are_given_back_once_the_database_is_there_again(site: Site, ada: Person) -> None:
    """Row 11."""
    socket = await connect(ada)
    await site.db.execute(
        """
        CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$
        """
    )
    await site.db.execute("CREATE TRIGGER hang_up AFTER DELETE ON socket_place EXECUTE FUNCTION hang_up()")

    with structlog.testing.capture_logs() as logged:
        await socket.close()
        await until(lambda: "sockets.tidying_failed" in [line["event"] for line in logged])
    await site.db.execute("DROP TRIGGER hang_up ON socket_place")

    await until(lambda: nobody_has_a_place(site))


async def test_a_socket_that_was_swept_has_a_place_again(site: Site, ada: Person) -> None:
    """Row 11. After a database that was away for long nobody has beaten, and the reaper may look first."""
    places = SocketPlaces(site.db, boot=-1, silent_s=60, renew_s=0.05)
    holding = asyncio.create_task(places.run())
    async with places.hold(ada.id):
        swept = await site.db.execute(mailbox.SQL.free_places, 60.0)

        assert swept == "DELETE 1"
        await until(lambda: somebody_has_a_place(site))

    await until(lambda: nobody_has_a_place(site))
    holding.cancel()


async def status_is_open(person: Person, site: Site) -> bool:
    return await status_of_another(person, site) == 101


async def somebody_waits(site: Site) -> bool:
    waiting = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)"
    return bool(await site.db.fetch_value(waiting))


async def somebody_has_a_place(site: Site) -> bool:
    return not await nobody_has_a_place(site)


async def nobody_has_a_place(site: Site) -> bool:
    return bool(await site.db.fetch_value("SELECT count(*) = 0 FROM socket_place"))
