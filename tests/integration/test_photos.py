"""Photos in the database: legal steps only, every step in the history, nothing lost on the way."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hyperion.db import Database
from hyperion.errors import PhotoGone, StatusConflict
from hyperion.media import photos
from hyperion.media.status import REACHED_FROM, Status
from hyperion.media.transaction import LIVE_CHANNEL, PhotoTransaction, photo_transaction
from hyperion.queue import Wakeup
from tests.integration.media import add_photo, add_user, claim, status_of, store, walk_of
from tests.photos import make_photo
from tests.until import until

Act = Callable[[PhotoTransaction], Awaitable[object]]


@pytest.fixture
async def in_transaction(db: Database, wakeup: Wakeup) -> Callable[[Act], Awaitable[None]]:
    async def run(act: Act) -> None:
        async with photo_transaction(db, wakeup) as tx:
            await act(tx)

    return run


async def test_a_new_photo_is_pending_with_its_bytes_its_history_and_its_task(
    db: Database, wakeup: Wakeup, tmp_path: Path
) -> None:
    await add_user(db)
    content = make_photo()

    media_id = await add_photo(db, wakeup, content=content)

    assert await photos.copy_blob(db, media_id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert await walk_of(db, media_id) == [Status.PENDING]
    assert (await claim(db, "archive")).item == media_id


@pytest.mark.parametrize("status", list(Status))
async def test_only_legal_steps_are_taken(db: Database, wakeup: Wakeup, status: Status) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)

    async def step() -> None:
        async with photo_transaction(db, wakeup) as tx:
            await photos.advance(tx, media_id, status, reason="x")

    if Status.PENDING in REACHED_FROM[status] and status is Status.FAILED:
        await step()
        assert await status_of(db, media_id) == status
    elif status is Status.PENDING:
        await step()  # it is there already
        assert await walk_of(db, media_id) == [Status.PENDING]
    elif status is not Status.UPLOADED:
        with pytest.raises(StatusConflict):
            await step()
        assert await walk_of(db, media_id) == [Status.PENDING]


async def test_a_step_that_was_taken_already_is_not_logged_twice(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    await store(db, wakeup, media_id)

    for _ in range(2):
        async with photo_transaction(db, wakeup) as tx:
            await photos.advance(tx, media_id, Status.EXTRACTING, worker="Helios")

    assert await walk_of(db, media_id) == [Status.PENDING, Status.UPLOADED, Status.EXTRACTING]


async def test_a_step_of_a_deleted_photo_says_that_it_is_gone(db: Database, wakeup: Wakeup) -> None:
    with pytest.raises(PhotoGone):
        async with photo_transaction(db, wakeup) as tx:
            await photos.advance(tx, uuid4(), Status.EXTRACTING)


async def test_a_users_numbers_have_no_gap_whoever_writes_at_once(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    await add_user(db, "u2")
    media_ids = [await add_photo(db, wakeup, user) for user in ("u1", "u2") for _ in range(6)]

    await asyncio.gather(*(store(db, wakeup, media_id) for media_id in media_ids))

    for user in ("u1", "u2"):
        rows = await db.fetch("SELECT seq FROM media_log WHERE user_id = $1 ORDER BY seq", user)
        assert [row["seq"] for row in rows] == list(range(1, 13))


async def test_a_number_is_visible_only_after_all_lower_ones_of_the_user(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    first, second = [await add_photo(db, wakeup) for _ in range(2)]

    async with photo_transaction(db, wakeup) as slow:
        await photos.give_up(slow, [first], reason="x")
        quick = asyncio.create_task(store(db, wakeup, second))
        seen = [row["seq"] for row in await db.fetch("SELECT seq FROM media_log ORDER BY seq")]
    await quick

    assert seen == [1, 2]
    assert [row["seq"] for row in await db.fetch("SELECT seq FROM media_log ORDER BY seq")] == [1, 2, 3, 4]


async def test_a_change_wakes_those_who_watch_and_one_that_nobody_watches_wakes_nobody(
    db: Database, wakeup: Wakeup
) -> None:
    for user in ("u1", "u2"):
        await add_user(db, user)
    await db.execute("INSERT INTO socket_place (user_id, place, boot) VALUES ('u2', 1, 7), ('u2', 2, 7)")
    listener = Wakeup(db)
    bell = listener.bell(LIVE_CHANNEL)
    listening = asyncio.create_task(listener.run())
    assert await bell.wait(10) == {""}  # it listens

    for user in ("u1", "u2"):
        await add_photo(db, wakeup, user)

    assert await bell.wait(10) == {"u2"}
    listening.cancel()


async def test_a_batch_of_several_users_is_numbered_for_each_and_an_illegal_step_not_at_all(
    db: Database, wakeup: Wakeup
) -> None:
    for user in ("u1", "u2"):
        await add_user(db, user)
    media_ids = [await add_photo(db, wakeup, user) for user in ("u1", "u2", "u1", "u2", "u1")]
    await store(db, wakeup, media_ids[0])

    async with photo_transaction(db, wakeup) as tx:
        await photos.store_done(tx, media_ids)

    rows = await db.fetch("SELECT user_id, array_agg(seq ORDER BY seq) AS seqs FROM media_log GROUP BY user_id")
    assert {row["user_id"]: row["seqs"] for row in rows} == {"u1": [1, 2, 3, 4, 5, 6], "u2": [1, 2, 3, 4]}
    for media_id in media_ids:
        assert await walk_of(db, media_id) == [Status.PENDING, Status.UPLOADED]


async def test_all_of_a_users_photos_are_deleted_while_several_of_them_change(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    one, first, another = [await add_photo(db, wakeup, media_id=UUID(int=n)) for n in (2, 1, 3)]
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def delete_all() -> int:
        async with photo_transaction(db, wakeup) as tx:
            return await photos.delete(tx, "u1", None)

    async with photo_transaction(db, wakeup) as tx:
        await photos.lock_all(tx, [first])
        deleting = asyncio.create_task(delete_all())
        await until(lambda: db.fetch_value(waits))
        await photos.give_up(tx, [one, first, another], reason="x")

    assert await deleting == 3


async def test_a_photo_in_work_cannot_be_analysed_again(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)

    with pytest.raises(StatusConflict):
        async with photo_transaction(db, wakeup) as tx:
            await photos.analyse_again(tx, media_id)


async def test_of_two_who_ask_for_another_analysis_one_gets_it(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    media_id = await add_photo(db, wakeup)
    async with photo_transaction(db, wakeup) as tx:
        await photos.give_up(tx, [media_id], reason="x")

    async def ask() -> int:
        async with photo_transaction(db, wakeup) as tx:
            return await photos.analyse_again(tx, media_id)

    results = await asyncio.gather(ask(), ask(), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["StatusConflict", "int"]


async def test_deleting_a_user_deletes_photos_detections_and_history(db: Database, wakeup: Wakeup) -> None:
    await add_user(db)
    await add_photo(db, wakeup)

    await db.execute("DELETE FROM app_user")

    for table in ("media", "media_blob", "media_log", "feed"):
        assert await db.fetch_value(f"SELECT count(*) FROM {table}") == 0
