"""Heartbeats cost little: they do not wait for the disk, and nobody else is let off it."""

import os

from hyperion.actors.mailbox import SQL
from hyperion.db import Connection, Database


async def register(db: Database) -> None:
    await db.execute(SQL.register, "n1", "Helios", "Helios", "worker", 1, os.getpid(), 0)


async def waits_for_disk(connection: Connection) -> bool:
    setting: str = await connection.fetchval("SHOW synchronous_commit")
    return setting == "on"


async def test_an_actors_beat_does_not_wait_for_the_disk(db: Database) -> None:
    await register(db)

    async with db.transaction() as connection:
        beat = await connection.fetchrow(SQL.beat, "n1", "Helios", 1, "ready", None, None, None, "Helios", 0.0, 1, 0)
        waits = await waits_for_disk(connection)

    assert (beat is not None, waits) == (True, False)


async def test_a_nodes_beat_does_not_wait_for_the_disk(db: Database) -> None:
    await register(db)

    async with db.transaction() as connection:
        seen = await connection.fetch(SQL.observe, "n1", "running", os.getpid())
        waits = await waits_for_disk(connection)

    assert ([row["name"] for row in seen], waits) == (["Helios"], False)


async def test_what_follows_a_beat_on_the_same_connection_waits_again(db: Database) -> None:
    await register(db)

    async with db.connection() as connection:
        await connection.fetchrow(SQL.beat, "n1", "Helios", 1, "ready", None, None, None, "Helios", 0.0, 1, 0)
        await connection.fetch(SQL.observe, "n1", "running", os.getpid())
        assert await waits_for_disk(connection)
