"""A transaction on photos that, once it is committed, wakes whoever waits for what it did."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hyperion.db import Connection, Database
from hyperion.queue import NewTask, Rings, Wakeup, enqueue

ARCHIVE_LANE = "archive"
ANALYSE_LANE = "analyse"
LIVE_CHANNEL = "hyperion_live"


@dataclass(frozen=True)
class PhotoTransaction:
    """An open transaction; what it does is made known to those who wait for it, once it is committed."""

    connection: Connection
    _rings: Rings

    async def enqueue(self, tasks: Sequence[NewTask]) -> list[int]:
        """Queue tasks; return their ids."""
        for task in tasks:
            self.has_work(task.lane)
        return await enqueue(self.connection, tasks)

    def has_work(self, lane: str, tasks: int = 1) -> None:
        """Note that so many more tasks are ready in the lane."""
        self._rings.lane(lane, tasks)

    def has_changed(self, user_id: str) -> None:
        """Note that photos of the user have changed; who watches them is to hear it on LIVE_CHANNEL."""
        self._rings.function("live_wake", user_id)


@asynccontextmanager
async def photo_transaction(db: Database, wakeup: Wakeup) -> AsyncIterator[PhotoTransaction]:
    """Open a transaction; its commit wakes the lanes and the live updates that it touched."""
    async with wakeup.transaction(db) as (connection, rings):
        yield PhotoTransaction(connection, rings)
