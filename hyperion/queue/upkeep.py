"""What others do with tasks: rescue, promotion, revival, purge, counting."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hyperion.db import Connection, Database, Record
from hyperion.queue.tasks import SQL


@dataclass(frozen=True, kw_only=True)
class Rescued:
    """A task that was taken from an owner who no longer answers for it."""

    task_id: int
    lane: str
    kind: str
    item: UUID | None
    boot: int
    crashes: int
    is_dead: bool


@dataclass(frozen=True, kw_only=True)
class DeadTask:
    """A task that gave up, with its last error."""

    task_id: int
    lane: str
    kind: str
    item: UUID | None
    attempt: int
    crashes: int
    error: str
    died_at: datetime


async def rescue_boots(
    connection: Connection,
    boots: Iterable[int],
    *,
    max_crashes: int,
    reason: str,
    is_crash: bool = True,
    blameless: Sequence[str] = (),
) -> list[Rescued]:
    """Free what the dead `boots` had leased, one crash counted each; dead after `max_crashes`.

    Without `is_crash` they ended in order, and nothing is counted; neither is it for tasks of the
    lanes in `blameless`. The caller writes what that means for the items in the same transaction.
    """
    await connection.execute(SQL.forget_claimers, list(boots))
    locked = await connection.fetch(SQL.lock_leases_of, list(boots))
    return await _rescue(connection, locked, max_crashes, reason, cost=int(is_crash), blameless=blameless)


async def rescue_lost(
    connection: Connection, *, silent_s: float, max_crashes: int, reason: str, blameless: Sequence[str] = ()
) -> list[Rescued]:
    """Free the leases that nobody answers for: expired, orphaned, or of an actor silent so long.

    Only for a caller to whom the database has answered for as long; while it was away nobody
    could renew or beat. `blameless` as in `rescue_boots`.
    """
    await connection.execute(SQL.forget_lost_claimers)
    locked = await connection.fetch(SQL.lock_lost_leases, silent_s)
    return await _rescue(connection, locked, max_crashes, reason, cost=1, blameless=blameless)


async def promote_due(db: Database, *, limit: int = 1000) -> dict[str, int]:
    """Make ready what was scheduled for now; return the lanes to ring, and how many tasks each got."""
    return {row["lane"]: row["tasks"] for row in await db.fetch(SQL.promote_due, limit)}


async def revive(connection: Connection, task_ids: Sequence[int]) -> list[Rescued]:
    """Bring dead tasks back with all their attempts; return those that were dead."""
    rows = await connection.fetch(SQL.revive, list(task_ids))
    return [Rescued(**row, boot=0, crashes=0, is_dead=False) for row in rows]


async def list_dead(db: Database, *, lane: str | None = None, limit: int = 100) -> list[DeadTask]:
    """List dead tasks, the newest first."""
    return [DeadTask(**row) for row in await db.fetch(SQL.list_dead, lane, limit)]


async def purge_finished(db: Database, *, older_than_s: float, batch: int = 5000) -> int:
    """Delete finished tasks of that age, in short statements; return how many went."""
    last_id, purged = 0, 0
    while True:
        [row] = await db.fetch(SQL.purge_finished, last_id, older_than_s, batch)
        if row["last_id"] is None:
            return purged
        last_id, purged = row["last_id"], purged + row["purged"]


async def is_alive(connection: Connection, *, item: UUID, lane: str) -> bool:
    """Tell whether a task about `item` waits or runs in `lane`."""
    return bool(await connection.fetchval(SQL.is_alive, item, lane))


async def count_ready(db: Database, *, lane: str, at_most: int = 1_000_000) -> int:
    """Count the tasks that wait in `lane`, at most so many: a long line is not worth a long count."""
    return int(await db.fetch_value(SQL.count_ready, lane, at_most))


async def depths(db: Database) -> dict[tuple[str, str], int]:
    """Count all tasks by (lane, state); it reads whole tables and is not for a request's path."""
    return {(row["lane"], row["state"]): row["count"] for row in await db.fetch(SQL.depths)}


async def oldest_s(db: Database, lanes: Sequence[str]) -> dict[str, float]:
    """Tell for each lane how many seconds ago the first in its line was enqueued; 0 where nobody waits."""
    return {row["lane"]: row["age_s"] for row in await db.fetch(SQL.oldest, lanes)}


async def _rescue(
    connection: Connection,
    locked: Sequence[Record],
    max_crashes: int,
    reason: str,
    *,
    cost: int,
    blameless: Sequence[str],
) -> list[Rescued]:
    if not locked:
        return []
    task_ids = [row["task_id"] for row in locked]
    rows = await connection.fetch(SQL.rescue, task_ids, max_crashes, reason, cost, list(blameless))
    return [Rescued(**row) for row in rows]
