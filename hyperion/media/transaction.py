"""A transaction on photos that, once it is committed, wakes whoever waits for what it did."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hyperion.db import Connection, Database
from hyperion.queue import NewTask, Wakeup, enqueue, lane_channel

ARCHIVE_LANE = "archive"
ANALYSE_LANE = "analyse"
LIVE_CHANNEL = "hyperion_live"


@dataclass(frozen=True)
class PhotoTransaction:
    """An open transaction, the lanes that got work in it and the users whose photos changed."""

    connection: Connection
    lanes: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)

    async def enqueue(self, tasks: Sequence[NewTask]) -> list[int]:
        """Queue tasks; return their ids."""
        self.lanes.update(task.lane for task in tasks)
        return await enqueue(self.connection, tasks)


@asynccontextmanager
async def photo_transaction(db: Database, wakeup: Wakeup) -> AsyncIterator[PhotoTransaction]:
    """Open a transaction; after its commit ring the lanes and the live updates that it touched."""
    async with db.transaction() as connection:
        tx = PhotoTransaction(connection)
        yield tx
    for lane in tx.lanes:
        wakeup.ring(lane_channel(lane))
    for user_id in tx.users:
        wakeup.ring(LIVE_CHANNEL, user_id)
