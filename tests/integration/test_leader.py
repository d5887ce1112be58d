"""One leader at a time, and a new one when its connection is gone."""

import asyncio
from contextlib import suppress

from hyperion.db import Database
from hyperion.db.leader import while_leader
from tests.until import until


class Candidate:
    """Counts how often it was elected, and works until it is cancelled."""

    def __init__(self, db: Database) -> None:
        self.elections = 0
        self.is_leading = False
        self.task = asyncio.create_task(while_leader(db, "test", self._lead))

    async def _lead(self) -> None:
        self.elections += 1
        self.is_leading = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_leading = False

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def test_only_one_leads_and_the_other_follows_it(db: Database) -> None:
    first = Candidate(db)
    await until(lambda: first.is_leading)
    second = Candidate(db)

    assert not second.is_leading
    await first.stop()
    await until(lambda: second.is_leading)
    await second.stop()


async def test_a_leader_whose_connection_is_cut_stops_working_until_it_is_elected_again(db: Database) -> None:
    leader = Candidate(db)
    await until(lambda: leader.is_leading)
    holder = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"

    await db.fetch_value(holder)

    await until(lambda: leader.elections == 2)
    assert leader.is_leading
    await leader.stop()
