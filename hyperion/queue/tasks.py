"""Tasks and leases: enqueue, claim, finish, retry, hand back."""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from hyperion.db import Connection, Database, HeldConnection, load_queries
from hyperion.errors import LeaseLost
from hyperion.queue.mark import Mark

SQL = load_queries(__package__, "tasks.sql")

FIRST_RETRY_S = 2.0
LAST_RETRY_S = 300.0

_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """Work to be queued. `payload` is JSON; `item` is the id of the thing that it is about."""

    lane: str
    kind: str
    payload: dict[str, Any] = field(default_factory=dict)
    item: UUID | None = None


class Lease(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # it can be in no cycle
    """One claim on one task, by one life of a process. `attempt` counts from 1."""

    task_id: int
    lane: str
    kind: str
    payload: dict[str, Any]
    item: UUID | None
    boot: int
    epoch: int
    seq: int
    attempt: int
    crashes: int


@dataclass(frozen=True)
class Retry:
    """What became of a failed attempt: another one in `delay_s` seconds, or none (None: dead)."""

    delay_s: float | None

    @property
    def is_dead(self) -> bool:
        """Whether the task gave up."""
        return self.delay_s is None


async def enqueue(connection: Connection, tasks: Sequence[NewTask]) -> list[int]:
    """Queue the tasks in the caller's transaction; return their ids, in the same order."""
    rows = await connection.fetch(
        SQL.enqueue,
        [task.lane for task in tasks],
        [task.kind for task in tasks],
        [msgspec.json.encode(task.payload).decode() for task in tasks],
        [task.item for task in tasks],
    )
    return [row["id"] for row in rows]


class Claimer:
    """Claims from one lane for one boot, and keeps what it holds from expiring.

    It does not always look from the front of the line on; see Mark.

    A claim does not wait for the disk. If a crash of the server forgets it, the task is ready again,
    which is what a rescue would have made of it, and the fence keeps the first owner from finishing
    it; whatever that owner commits durably makes its claim durable too, which comes before it.
    """

    def __init__(self, db: Database, *, lane: str, boot: int, lease_s: float) -> None:
        self.lane = lane
        self.connection = db.held(durable=False)
        self.boot = boot
        self._lease_s = lease_s
        self._mark = Mark()
        self._held: dict[int, Lease] = {}
        self._answer_lost = False

    async def claim(self, limit: int) -> list[Lease]:
        """Lease up to `limit` tasks, the oldest first. An empty list twice running: there is nothing to do.

        The first says that there is nothing further on; the claim after it looks from the front of the line.
        Give every lease to `forget` when it is settled, whatever way. Raises DatabaseUnavailable;
        what a claim took whose answer was lost is put back by the next.
        """
        if self._answer_lost:
            await self.connection.fetch(SQL.hand_back_strays, self.boot, list(self._held))
            self._answer_lost = False
        self._mark.drop_if_old()
        began_s = time.monotonic()
        leases = await self._claim(limit)
        if not leases and self._mark.go_back():
            leases = await self._claim(limit)
        if leases and len(leases) == limit:
            self._mark.move(leases[0].seq, leases[-1].seq, count=limit, took_s=time.monotonic() - began_s)
        elif leases:
            self._mark.go_back()
        else:
            self._mark.drop()
        self._held.update({lease.task_id: lease for lease in leases})
        return leases

    def forget(self, leases: Iterable[Lease]) -> None:
        """Stop renewing leases that are settled or lost."""
        for lease in leases:
            self._held.pop(lease.task_id, None)

    def doubt(self) -> None:
        """Let the next claim put back whatever the boot has leased and does not hold."""
        self._answer_lost = True

    async def renew(self) -> None:
        """Extend every lease that is held to a full term from now."""
        if self._held:
            await self.connection.fetch(SQL.renew, *_names(self._held.values()), self.boot, self._lease_s)

    async def _claim(self, limit: int) -> list[Lease]:
        self._answer_lost = True
        rows = await self.connection.fetch(SQL.claim, self.lane, self._mark.seq, limit, self.boot, self._lease_s)
        self._answer_lost = False
        leases = [
            Lease(
                task_id=task_id,
                lane=self.lane,
                kind=kind,
                payload=_decode_payload(payload),
                item=item,
                boot=self.boot,
                epoch=epoch,
                seq=seq,
                attempt=attempt,
                crashes=crashes,
            )
            for task_id, seq, epoch, attempt, crashes, kind, payload, item in rows
        ]
        leases.sort(key=attrgetter("seq"))
        return leases


async def hold(connection: Connection, lease: Lease) -> None:
    """Make sure that the lease stays ours until the transaction ends. Raises LeaseLost."""
    if not await connection.fetchval(SQL.hold, lease.task_id, lease.epoch, lease.boot):
        raise LeaseLost(lease.task_id)


async def finish(connection: Connection, leases: Sequence[Lease]) -> None:
    """Finish the tasks in the caller's transaction, which also writes their results.

    Raises LeaseLost where one is in other hands: let it roll the transaction back.
    """
    done = await settled(connection, leases)
    for lease in leases:
        if lease.task_id not in done:
            raise LeaseLost(lease.task_id)


async def settled(connection: Connection | HeldConnection, leases: Sequence[Lease]) -> set[int]:
    """Finish those leases that are still ours; return their task ids."""
    return await _settle(connection, SQL.finish, leases)


async def fail(
    connection: Connection, lease: Lease, *, error: str, max_attempts: int, delay_s: float | None = None
) -> Retry:
    """End a failed attempt: schedule the next, or bury the task after `max_attempts`.

    `delay_s` overrules the usual backoff. Raises LeaseLost.
    """
    await finish(connection, [lease])
    if lease.attempt >= max_attempts:
        await connection.execute(SQL.bury, lease.task_id, lease.lane, lease.attempt, lease.crashes, error)
        return Retry(None)
    wait_s = retry_delay_s(lease.attempt) if delay_s is None else delay_s
    await connection.execute(SQL.schedule, lease.task_id, lease.lane, wait_s, lease.attempt, lease.crashes, error)
    return Retry(wait_s)


def retry_delay_s(attempt: int, *, chance: float | None = None) -> float:
    """Return the wait after the `attempt`-th failure: 2 s doubling to 300 s, less up to half.

    `chance` in 0..1 replaces the random jitter, which keeps failures from coming back in step.
    """
    full = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** (attempt - 1))
    return full * (1 - 0.5 * (random.random() if chance is None else chance))  # noqa: S311  (jitter)


async def postpone(connection: Connection, leases: Sequence[Lease], *, delay_s: float, reason: str) -> set[int]:
    """Have tasks done once more in `delay_s` seconds, uncounted; those that are still ours."""
    ours = await settled(connection, leases)
    for lease in leases:
        if lease.task_id in ours:
            counts = (lease.attempt - 1, lease.crashes)
            await connection.execute(SQL.schedule, lease.task_id, lease.lane, delay_s, *counts, reason)
    return ours


async def hand_back(connection: Connection, leases: Sequence[Lease]) -> set[int]:
    """Return tasks unfinished and uncounted, to their old place; those that were still ours."""
    return await _settle(connection, SQL.hand_back, leases)


async def _settle(connection: Connection | HeldConnection, query: str, leases: Sequence[Lease]) -> set[int]:
    if not leases:
        return set()
    rows = await connection.fetch(query, *_names(leases), leases[0].boot)
    return {row["task_id"] for row in rows}


def _names(leases: Iterable[Lease]) -> tuple[list[int], list[int]]:
    """Return task ids in ascending order and the epoch of each; the newest, where a task was claimed again."""
    in_order = sorted(leases, key=attrgetter("task_id", "epoch"))
    return [lease.task_id for lease in in_order], [lease.epoch for lease in in_order]
