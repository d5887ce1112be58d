"""Writes behind: what was counted in memory goes to Postgres every few seconds, each batch exactly once."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hyperion import logs
from hyperion.db import Connection, Database, load_queries
from hyperion.errors import DatabaseUnavailable
from hyperion.web.presence import Presence, Seen
from hyperion.web.traffic import LOOK_BACK_S, SLOT_S, Counted, Traffic

log = logs.get_logger()

SQL = load_queries(__package__, "flusher.sql")

FLUSH_S = 5.0
LAST_FLUSH_LIMIT_S = 1.0


@dataclass(frozen=True)
class Batch:
    """What is written in one transaction. It stays as it is until that is known to be committed."""

    number: int
    counted: Counted
    seen: Sequence[Seen]
    ended: Mapping[str, float]


class Flusher:
    """Writes the counts of one process.

    While the database is away one batch waits, and everything after it gathers in `traffic` and
    `presence`, which are bounded. If the process is killed, at most the last FLUSH_S seconds are lost.
    """

    def __init__(self, db: Database, traffic: Traffic, presence: Presence) -> None:
        self._db = db
        self._traffic = traffic
        self._presence = presence
        self._source = f"web {secrets.token_hex(8)}"
        self._number = 0
        self._in_doubt: Batch | None = None

    async def run(self) -> None:
        """Flush until cancelled."""
        is_told = False
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.run_once()
                is_told = False
            except DatabaseUnavailable as error:
                if not is_told:
                    log.warning("counts.postponed", reason=str(error))
                is_told = True

    async def run_once(self) -> int:
        """Write what has gathered; return how many batches that took. Raises DatabaseUnavailable."""
        written = 0
        while batch := self._in_doubt or self._gathered():
            self._in_doubt = batch
            async with self._db.transaction() as connection:
                if await connection.fetchval(SQL.begin_batch, self._source, batch.number):
                    await _write(connection, batch, now_s=time.monotonic())
            self._in_doubt = None
            written += 1
        return written

    async def finish(self) -> None:
        """Write the last counts, within a second or not at all."""
        try:
            async with asyncio.timeout(LAST_FLUSH_LIMIT_S):
                await self.run_once()
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("counts.lost", reason=str(error) or "the database did not answer in time")

    def _gathered(self) -> Batch | None:
        counted = self._traffic.take()
        seen, ended = self._presence.take(time.monotonic())
        if counted.is_empty() and not seen and not ended:
            return None
        self._number += 1
        return Batch(self._number, counted, seen, ended)


async def _write(connection: Connection, batch: Batch, *, now_s: float) -> None:
    """Write in one order of tables and of rows, which is what keeps two processes from a deadlock."""
    counted, seen, ended = batch.counted, sorted(batch.seen, key=lambda one: one.session_id), batch.ended
    await connection.executemany(
        SQL.add_requests,
        [(*key, timing.requests, timing.duration_s, timing.buckets) for key, timing in sorted(counted.timings.items())],
    )
    ages = [(max(0.0, now_s - (number + 0.5) * SLOT_S), slot) for number, slot in sorted(counted.slots.items())]
    await connection.executemany(
        SQL.add_slot, [(age_s, slot.requests, slot.duration_s) for age_s, slot in ages if age_s <= LOOK_BACK_S]
    )
    await connection.executemany(SQL.add_files, sorted(counted.files.items()))
    if seen:
        await connection.execute(
            SQL.see_sessions,
            [one.session_id for one in seen],
            [one.user_id for one in seen],
            [now_s - one.first_s for one in seen],
            [now_s - one.last_s for one in seen],
        )
    if ended:
        await connection.execute(SQL.end_sessions, list(ended), [now_s - ended_s for ended_s in ended.values()])
