"""What actors share that live off a lane of the queue: the worker and the archiver."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from hyperion import histogram, logs, queue
from hyperion.actors.actor import Actor
from hyperion.actors.mailbox import SQL
from hyperion.actors.specs import Life
from hyperion.db.backoff import Backoff
from hyperion.errors import DatabaseUnavailable
from hyperion.media import photos
from hyperion.media.recovery import task_died
from hyperion.media.transaction import PhotoTransaction, photo_transaction
from hyperion.queue import Claimer, Idler, Lease
from hyperion.settings import Settings

log = logs.get_logger()

T = TypeVar("T")

HAND_BACK_LIMIT_S = 3.0
FOR_EVER = 1_000_000  # attempts


class ClaimingActor(Actor):
    """An actor that claims from `lane`, settles in transactions and outlasts an absent database."""

    lane: str
    pollers = 1  # how many actors of this node live off the lane

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self._claimer = Claimer(self.db, lane=self.lane, boot=life.boot, lease_s=settings.lease_s)
        self._idler = Idler(self.wakeup, self._claimer)
        self._claimed_at_s = 0.0

    async def renew(self) -> None:
        """Renew the leases in hand."""
        await self._claimer.renew()

    def obeyed(self) -> None:
        """Stop waiting for work; see Actor."""
        self._idler.interrupt()

    async def next_leases(self, limit: int) -> list[Lease]:
        """Wait for work and lease up to `limit` of it; an empty list when draining."""
        while not self.draining.is_set():
            if self.is_paused:
                await self.patiently(self._idler.leave)
            elif leases := await self.patiently(lambda: self._idler.claim(limit)):
                self._claimed_at_s = time.monotonic()
                return leases
            await self._idler.wait(self._poll_s())
        await self.patiently(self._idler.leave)
        return []

    async def write(self, write: Callable[[PhotoTransaction], Awaitable[None]]) -> None:
        """Run `write` in a transaction, again and again while the database is away.

        A commit whose answer was lost is written again, so `write` must hold or finish a lease:
        the second time it finds its own work done or the lease gone (LeaseLost).
        """

        async def attempt() -> None:
            async with photo_transaction(self.db, self.wakeup) as tx:
                await write(tx)

        await self.patiently(attempt)

    async def patiently(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await `attempt()` until the database answers; return what it returns."""
        backoff = Backoff()
        is_told = False
        while True:
            try:
                return await attempt()
            except DatabaseUnavailable as error:
                if not is_told:
                    log.warning("database.awaited", reason=str(error))
                is_told = True
            await asyncio.sleep(backoff.next_s())

    async def fail(self, lease: Lease, *, error: str, max_attempts: int | None = None) -> None:
        """End a failed attempt: another one later, or the task is dead and its photo FAILED.

        `max_attempts` overrules the setting.
        """
        most = max_attempts or self.settings.max_attempts

        async def write(tx: PhotoTransaction) -> None:
            retry = await queue.fail(tx.connection, lease, error=error, max_attempts=most)
            await self.count(tx, failed=1)
            if retry.is_dead:
                await task_died(tx, lease.item, reason=error)
            elif lease.item:
                await photos.abandon(tx, [lease.item], reason=f"attempt {lease.attempt} failed: {error}")

        await self.write(write)

    async def hand_back(self, leases: Sequence[Lease]) -> None:
        """Give work back uncounted so that others have it at once; within seconds or not at all."""
        if not leases:
            return
        try:
            async with asyncio.timeout(HAND_BACK_LIMIT_S), photo_transaction(self.db, self.wakeup) as tx:
                returned = await queue.hand_back(tx.connection, leases)
                tx.has_work(self.lane, len(returned))
                items = [lease.item for lease in leases if lease.item and lease.task_id in returned]
                await photos.abandon(tx, items, reason=f"handed back by {self.life.label}")
            log.info("lease.handed_back", task_ids=sorted(returned))
        except (DatabaseUnavailable, TimeoutError) as error:
            # Where this process ends the supervisor rescues them, else the next claim puts them back.
            log.warning("lease.hand_back_failed", reason=str(error))
            self._claimer.doubt()
        finally:
            self._claimer.forget(leases)

    async def count(self, tx: PhotoTransaction, *, done: int = 0, failed: int = 0) -> None:
        """Count tasks that end now, and how long they took since they were claimed."""
        took_s = time.monotonic() - self._claimed_at_s
        buckets = histogram.counts(histogram.TASK_BOUNDS_S, took_s, done + failed)
        await tx.connection.execute(
            SQL.count_outcome, self.life.label, done, failed, self.lane, took_s * (done + failed), buckets
        )

    def forget(self, leases: Sequence[Lease]) -> None:
        """Stop renewing leases that are settled."""
        self._claimer.forget(leases)

    def _poll_s(self) -> float:
        """Return how long to wait for the bell. The pollers of a lane share the looking: together
        they look once in `poll_s` seconds, so that an idle fleet is quiet.
        """
        return self.settings.poll_s * self.pollers * random.uniform(0.75, 1.25)  # noqa: S311  (jitter)
