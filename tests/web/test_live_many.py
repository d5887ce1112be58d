"""Live updates to many sockets at once."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

from hyperion.media import photos
from hyperion.media.status import Status
from hyperion.media.transaction import LIVE_CHANNEL, photo_transaction
from hyperion.web.keys import TOKENS
from hyperion.web.live import LiveFeed
from hyperion.web.outbox import Outbox
from tests.until import until
from tests.web.conftest import Person, Site
from tests.web.test_live import Socket, connect

USERS = 25
STEPS = (Status.EXTRACTING, Status.PROCESSING, Status.READY)


async def people_with_a_photo(site: Site, count: int) -> dict[str, UUID]:
    """Make users with one stored photo each; return the photos by user."""
    await site.db.execute(
        """
        INSERT INTO app_user (id, email, full_name, language, password_hash)
        SELECT 'user ' || n, n::text, '', 'en', '' FROM generate_series(1, $1) AS n
        """,
        count,
    )
    rows = await site.db.fetch(
        """
        INSERT INTO media
            (id, user_id, filename, content_type, size_bytes, width, height, status, store_path, stored_at)
        SELECT gen_random_uuid(), id, 'a.jpg', 'image/jpeg', 1, 1, 1, 'UPLOADED', '', now() FROM app_user
        RETURNING user_id, id
        """
    )
    return {row["user_id"]: row["id"] for row in rows}


async def test_a_hundred_sockets_get_their_own_changes_and_only_those(site: Site) -> None:
    of_user = await people_with_a_photo(site, USERS)
    sockets: list[tuple[UUID, Socket]] = []
    for user_id, media_id in of_user.items():
        person = Person(site, user_id, site.app[TOKENS].issue(user_id))
        sockets += [(media_id, socket) for socket in await asyncio.gather(*(connect(person) for _ in range(4)))]

    async def work(media_id: UUID) -> None:
        for status in STEPS:
            async with photo_transaction(site.db, site.wakeup) as tx:
                await photos.advance(tx, media_id, status, worker="Helios")

    async def read(socket: Socket) -> list[dict[str, Any]]:
        return [await socket.receive_json(timeout=10) for _ in STEPS]

    working = asyncio.gather(*(work(media_id) for media_id in of_user.values()))
    received = await asyncio.gather(*(read(socket) for _, socket in sockets))
    await working

    for (media_id, _), frames in zip(sockets, received, strict=True):
        assert [frame["media_id"] for frame in frames] == [str(media_id)] * len(STEPS)
        assert [(frame["seq"], frame["status"]) for frame in frames] == list(enumerate(STEPS, 1))


async def test_a_change_that_no_bell_announced_is_found_though_bells_ring_for_others_all_the_time(
    site: Site, ada: Person
) -> None:
    bell = site.wakeup.bell(LIVE_CHANNEL)
    feed = LiveFeed(site.db, site.store, bell, poll_s=0.2)
    outbox = Outbox()
    reader = feed.join(ada.id, outbox, since=0, current=0)
    await feed.catch_up(reader)

    async def ring() -> None:
        while True:
            bell.strike("somebody else")
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(ring())]
    async with site.db.transaction() as connection:
        await connection.execute(
            """
            INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path)
            VALUES (gen_random_uuid(), $1, 'a.jpg', 'image/jpeg', 1, 1, 1, 'PENDING', '')
            """,
            ada.id,
        )
        await connection.execute(
            """
            INSERT INTO media_log (user_id, seq, media_id, status, action, message)
            SELECT user_id, 1, id, 'PENDING', 'STATUS_CHANGE', '' FROM media
            """
        )

    await until(lambda: reader.place == 1)

    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
