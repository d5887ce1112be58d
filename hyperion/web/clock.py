"""The time by which tokens begin and end: the database's, which all nodes share."""

import asyncio
import time
from datetime import UTC, datetime

from hyperion.db import Database, load_queries
from hyperion.errors import DatabaseUnavailable

SQL = load_queries(__package__, "auth.sql")

READ_S = 30.0
RETRY_S = 1.0


class Clock:
    """Tells the database's time without asking each time.

    It is the last answer, plus what has passed since then on the monotonic clock, which nobody can
    set. A token is issued by one node, judged by another, and its revocation forgotten by the
    database once it has expired: by clocks that differ it would be refused as too young, or be
    good again after its revocation. Until the first answer it is the machine's own time.
    """

    def __init__(self) -> None:
        self._unix_s_at_zero = time.time() - time.monotonic()

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.fromtimestamp(self._unix_s_at_zero + time.monotonic(), UTC)

    async def run(self, db: Database) -> None:
        """Read the database's clock, again and again until cancelled; it may be set as well."""
        while True:
            try:
                await self.run_once(db)
                await asyncio.sleep(READ_S)
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_S)

    async def run_once(self, db: Database) -> None:
        """Read the database's clock. Raises DatabaseUnavailable."""
        there = await db.fetch_value(SQL.read_clock)
        self._unix_s_at_zero = there.timestamp() - time.monotonic()
