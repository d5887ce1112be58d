"""Live updates over WebSockets."""

import asyncio
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError

from hyperion.media import photos
from hyperion.media.status import Status
from hyperion.media.transaction import photo_transaction
from hyperion.web.app import drain
from hyperion.web.keys import FEED
from hyperion.web.live import EVERYONE, PAGE
from hyperion.web.outbox import ROOM
from hyperion.web.updates import OPEN_SOCKETS
from tests.until import until
from tests.web.conftest import FRONTEND, MakeSite, Person, Site

PATH = "/api/upload/ws/updates"

Socket = ClientWebSocketResponse[Any]


async def connect(person: Person, site: Site | None = None, **query: Any) -> Socket:
    client = (site or person.site).client
    return await client.ws_connect(PATH, headers=person.headers, params=query)


async def frames(socket: Socket, count: int) -> list[dict[str, Any]]:
    return [await socket.receive_json(timeout=5) for _ in range(count)]


async def work_on(site: Site, media_id: UUID, *statuses: Status) -> None:
    async with photo_transaction(site.db, site.wakeup) as tx:
        await photos.store_done(tx, [media_id])
    for status in statuses:
        async with photo_transaction(site.db, site.wakeup) as tx:
            await photos.advance(tx, media_id, status, worker="Helios")


async def test_every_change_reaches_every_socket_of_the_user_on_every_process(
    site: Site, make_site: MakeSite, ada: Person
) -> None:
    other = await make_site()
    sockets = [await connect(ada), await connect(ada), await connect(ada, other)]

    media_id = await ada.photo()
    await work_on(site, media_id, Status.EXTRACTING)

    for socket in sockets:
        seen = await frames(socket, 3)
        assert [frame["status"] for frame in seen] == ["PENDING", "UPLOADED", "EXTRACTING"]
        assert [frame["seq"] for frame in seen] == [1, 2, 3]
        last = seen[-1]
        assert last.keys() == {
            "type", "media_id", "status", "worker", "timestamp", "img_url", "image_url", "address", "seq",
        }  # fmt: skip
        assert (last["type"], last["media_id"], last["worker"]) == ("MEDIA_STATUS_UPDATE", str(media_id), "Helios")
        assert last["img_url"] == last["image_url"] == f"/api/media/{media_id}/image"


async def test_a_client_that_comes_back_gets_exactly_what_it_missed(site: Site, ada: Person) -> None:
    first = await connect(ada)
    media_id = await ada.photo()
    [seen] = await frames(first, 1)
    await first.close()
    await work_on(site, media_id)

    again = await connect(ada, since=seen["seq"])
    await work_on(site, media_id, Status.EXTRACTING)

    assert [frame["seq"] for frame in await frames(again, 2)] == [2, 3]


async def test_a_long_replay_runs_into_the_live_stream_without_gap_or_repetition(site: Site, ada: Person) -> None:
    media_id = await ada.photo()
    pages = 2 * PAGE + PAGE // 2
    await site.db.execute(
        """
        INSERT INTO media_log (user_id, seq, media_id, status, action, message)
        SELECT $1, n, $2, 'PENDING', 'STATUS_CHANGE', '' FROM generate_series(2, $3::bigint) AS n
        """,
        ada.id, media_id, pages,
    )  # fmt: skip
    await site.db.execute("UPDATE feed SET seq = $1", pages)
    live = await connect(ada)

    replaying = await connect(ada, since=0)
    for _ in range(20):
        await ada.photo()

    assert [frame["seq"] for frame in await frames(replaying, pages + 20)] == list(range(1, pages + 21))
    assert [frame["seq"] for frame in await frames(live, 20)] == list(range(pages + 1, pages + 21))


async def test_a_place_beyond_the_end_counts_as_the_end(ada: Person) -> None:
    socket = await connect(ada, since=2**63 - 1)

    await ada.photo()

    assert [frame["seq"] for frame in await frames(socket, 1)] == [1]


async def test_the_token_may_stand_in_the_url(site: Site, ada: Person) -> None:
    socket = await site.client.ws_connect(PATH, params={"token": ada.token})

    await ada.photo()

    assert await frames(socket, 1)


async def test_a_listed_origin_may_open_a_socket(site: Site, ada: Person) -> None:
    socket = await site.client.ws_connect(PATH, headers=ada.headers | {"Origin": FRONTEND})

    assert not socket.closed


@pytest.mark.parametrize("since", ["-1", "x", str(2**63), "nan"])
async def test_a_place_that_is_no_number_is_422(ada: Person, since: str) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(ada, since=since)

    assert refused.value.status == 422


async def test_a_plain_request_is_told_to_upgrade(ada: Person) -> None:
    assert (await ada.get(PATH)).status == 426


async def test_on_shutdown_every_socket_is_closed_with_1001(site: Site, ada: Person) -> None:
    socket = await connect(ada)

    await drain(site.app)

    await socket.receive(timeout=5)
    assert socket.close_code == 1001
    assert (await site.client.get("/readyz")).status == 503


async def test_a_client_that_does_not_read_is_cut_off(site: Site, ada: Person) -> None:
    slow = await connect(ada)
    media_id = await ada.photo()
    [outbox] = site.app[OPEN_SOCKETS]
    async with site.db.transaction() as connection:
        # Far more than the socket's buffers and the outbox hold, committed at once.
        await connection.execute("UPDATE media SET address = repeat('x', 20000)")
        await connection.execute(
            """
            INSERT INTO media_log (user_id, seq, media_id, status, action, message)
            SELECT $1, n, $2, 'PENDING', 'STATUS_CHANGE', '' FROM generate_series(2, 2000) AS n
            """,
            ada.id, media_id,
        )  # fmt: skip

    await site.app[FEED].run_once(EVERYONE)

    assert await asyncio.wait_for(outbox.closed(), 5) == 1013
    assert ROOM < 2000
    await until(lambda: not site.app[OPEN_SOCKETS])
    assert isinstance(slow, aiohttp.ClientWebSocketResponse)
