"""What is counted when it happens is always what counting anew would find, whatever happens."""

import asyncio
import random
from typing import Any
from uuid import UUID

from hyperion.db import Database
from hyperion.media import photos
from hyperion.media.transaction import photo_transaction
from hyperion.web.map import SQL
from tests.web.conftest import Person, Site

LABELS = ("bag", "bottle", "can")

RECOUNTED = {
    "photos": "SELECT user_id, count(*) FROM media GROUP BY user_id",
    "cells": """
        SELECT user_id, map_cell_of(lat), map_cell_of(lng), count(*), count(confidence),
            COALESCE(sum(confidence::numeric), 0)
        FROM media WHERE has_trash AND lat IS NOT NULL GROUP BY 1, 2, 3
    """,
    "labels": """
        SELECT m.user_id, map_cell_of(m.lat), map_cell_of(m.lng), d.label, count(*)
        FROM media AS m JOIN detection AS d ON d.media_id = m.id
        WHERE m.has_trash AND m.lat IS NOT NULL GROUP BY 1, 2, 3, 4
    """,
}
COUNTED = {
    "photos": "SELECT user_id, photos FROM feed WHERE photos <> 0",
    "cells": "SELECT user_id, lat_cell, lng_cell, photos, rated, confidence FROM map_cell",
    "labels": "SELECT user_id, lat_cell, lng_cell, label, things FROM map_label",
}


async def found(db: Database, queries: dict[str, str]) -> dict[str, set[tuple[Any, ...]]]:
    return {name: {tuple(row) for row in await db.fetch(query)} for name, query in queries.items()}


async def insert_photos(db: Database, user_id: str, count: int) -> list[UUID]:
    rows = await db.fetch(
        """
        INSERT INTO media
            (id, user_id, filename, content_type, size_bytes, width, height, status, store_path, stored_at)
        SELECT gen_random_uuid(), $1, 'photo.jpg', 'image/jpeg', 1, 1, 1, 'READY', '', now()
        FROM generate_series(1, $2)
        RETURNING id
        """,
        user_id, count,
    )  # fmt: skip
    return [row["id"] for row in rows]


async def find_litter(db: Database, chance: random.Random, media_ids: list[UUID]) -> None:
    """Write down for these photos, in one statement each, what an analysis might find."""
    lat, lng = (None, None) if chance.random() < 0.1 else (chance.uniform(-0.03, 0.03), chance.uniform(-0.03, 0.03))
    async with db.transaction() as connection:
        await connection.execute(
            "UPDATE media SET lat = $2, lng = $3, has_trash = $4, confidence = $5 WHERE id = ANY ($1)",
            media_ids, lat, lng, chance.choice([True, True, False, None]),
            chance.choice([None, chance.uniform(0, 100)]),
        )  # fmt: skip
        await connection.execute("DELETE FROM detection WHERE media_id = ANY ($1)", media_ids)
        await connection.execute(
            """
            INSERT INTO detection (media_id, label, confidence, x, y, w, h)
            SELECT id, label, 0.5, 0, 0, 1, 1 FROM unnest($1::uuid[]) AS m (id), unnest($2::text[]) AS l (label)
            """,
            media_ids, chance.choices(LABELS, k=chance.randrange(4)),
        )  # fmt: skip


async def do_anything(site: Site, chance: random.Random, user_ids: list[str]) -> None:
    """Do one of the things that happen to photos, to those of a user or of several."""
    db, user_id = site.db, chance.choice(user_ids)
    mine = [row["id"] for row in await db.fetch("SELECT id FROM media WHERE user_id = $1", user_id)]
    some = chance.sample(mine, min(len(mine), chance.randrange(1, 4)))
    match chance.randrange(8):
        case 0 | 1:
            await insert_photos(db, user_id, chance.randrange(2, 6))
        case 2:
            async with photo_transaction(db, site.wakeup) as tx:
                await photos.delete(tx, user_id, some)
        case 3:
            await db.execute("UPDATE media SET confidence = confidence / 2, updated_at = now()")
        case 4:
            await db.execute("UPDATE detection SET label = $2 WHERE media_id = ANY ($1)", some, chance.choice(LABELS))
        case _:
            await find_litter(db, chance, some)


async def test_the_counts_are_exact_whatever_happens_to_photos(site: Site, ada: Person, bob: Person) -> None:
    chance = random.Random(7)
    for _ in range(60):
        await do_anything(site, chance, [ada.id, bob.id])

    counted = await found(site.db, COUNTED)

    assert counted == await found(site.db, RECOUNTED)
    assert all(counted.values())


async def test_the_counts_are_exact_when_many_write_at_once(site: Site, ada: Person, bob: Person) -> None:
    async def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(8):
            [media_id] = await insert_photos(site.db, chance.choice([ada.id, bob.id]), 1)
            await find_litter(site.db, chance, [media_id])

    await asyncio.gather(*(write(seed) for seed in range(6)))

    assert await found(site.db, COUNTED) == await found(site.db, RECOUNTED)


async def test_with_a_user_go_all_counts(site: Site, ada: Person) -> None:
    await find_litter(site.db, random.Random(1), await insert_photos(site.db, ada.id, 5))

    await site.db.execute("DELETE FROM app_user")

    assert not any((await found(site.db, COUNTED)).values())


async def test_cells_that_were_counted_are_those_that_are_counted_now(site: Site, ada: Person) -> None:
    chance = random.Random(3)
    for media_id in await insert_photos(site.db, ada.id, 120):
        await find_litter(site.db, chance, [media_id])

    for resolution in (0.005, 0.01, 0.015, 0.5):
        for _ in range(10):
            lats, lngs = (sorted(chance.choice([chance.uniform(-0.04, 0.04), -0.01, 0.02]) for _ in "ab") for _ in "ab")
            question = (ada.id, *lats, *lngs, resolution)

            assert await site.db.fetch(SQL.counted_cells, *question) == await site.db.fetch(SQL.cells, *question)
