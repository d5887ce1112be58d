"""The reaper: promotes what is due, frees what nobody answers for, ends what will never end."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from hyperion import logs, queue
from hyperion.actors.actor import Actor
from hyperion.actors.mailbox import SQL
from hyperion.actors.restart import is_silent
from hyperion.db.leader import while_leader
from hyperion.db.pool import affected
from hyperion.errors import DatabaseUnavailable
from hyperion.media import photos, recovery
from hyperion.media.status import Status
from hyperion.media.store import state, store_name
from hyperion.media.transaction import ANALYSE_LANE, ARCHIVE_LANE, photo_transaction

log = logs.get_logger()

LEADER_KEY = "hyperion:reaper"
FORGET_NODE_S = 3600.0
KEEP_FAILURES_S = 86400.0
KEEP_SAMPLES_S = 7200.0
KEEP_TRAFFIC_S = 900.0
KEEP_BATCHES_S = 86400.0
KEEP_SESSIONS_S = 86400.0
KEEP_MAIL_S = 86400.0
CLOCKS_APART_S = 60.0  # the web processes read the database's clock now and then
RETRY_S = 1.0
PAUSE_S = 5.0
Counts = dict[str, int]


@dataclass(frozen=True)
class Duty:
    """Something to do every `every_s` seconds; `run_once` returns what it counted."""

    every_s: float
    run_once: Callable[[], Awaitable[Counts]]


class Reaper(Actor):
    """One of these works in the whole cluster; the others stand by."""

    _answering_since_s = 0.0
    _answered_at_s = 0.0

    async def work(self) -> None:
        """Do the duties whenever they are due, until drained or cancelled."""
        self.mark_ready()
        await while_leader(self.db, LEADER_KEY, self._reap, until=self.draining)

    async def _reap(self) -> None:
        """Do each duty on its own: one that waits for a lock must not hold up the others."""
        self._answering_since_s = self._answered_at_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for duty in (
                Duty(self.settings.poll_s, self.promote),
                Duty(self.settings.rescue_s, self.rescue),
                Duty(self.settings.reap_s, self.mend_photos),
                Duty(self.settings.reap_s, self.sweep),
            ):
                group.create_task(self._repeat(duty))

    async def _repeat(self, duty: Duty) -> None:
        while not self.draining.is_set():
            wait_s = duty.every_s
            try:
                counts = await duty.run_once()
            except DatabaseUnavailable as error:
                log.warning("reaper.postponed", duty=duty.run_once.__name__, reason=str(error))
                wait_s = min(RETRY_S, wait_s)
            else:
                if any(counts.values()):
                    log.info("reaper.worked", duty=duty.run_once.__name__, **counts)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.draining.wait()

    async def promote(self) -> Counts:
        """Make ready what waited long enough; and learn, once a second, that the database answers."""
        try:
            lanes = await queue.promote_due(self.db)
        except DatabaseUnavailable:
            self._answering_since_s = time.monotonic()
            raise
        now_s = time.monotonic()
        if now_s - self._answered_at_s > self.settings.poll_s + PAUSE_S:
            self._answering_since_s = now_s  # this process was stopped, and so perhaps the others
        self._answered_at_s = now_s
        for lane, tasks in lanes.items():
            self.wakeup.ring_lane(lane, tasks)
        return {"lanes": len(lanes)}

    async def rescue(self) -> Counts:
        """Free lost leases, once everybody has had the time to renew since the database answers."""
        answering_s = time.monotonic() - self._answering_since_s
        limit_s = max(self.settings.lease_s / 2, self.settings.silence_s)
        if not is_silent(silent_s=answering_s, answering_s=answering_s, limit_s=limit_s):
            return {}
        freed = await recovery.rescue_lost(
            self.db, self.wakeup, silent_s=self.settings.offline_s, max_crashes=self.settings.max_crashes
        )
        return {"returned": freed.returned, "dead": freed.dead}

    async def mend_photos(self) -> Counts:
        """End or restart photos that are stuck and have no task that would move them."""
        # What waits for a store that takes nothing now is not stuck, however old it grows.
        is_store_ready = (await state.show(self.db, store_name(self.settings))).state == "ready"
        return {
            "failed": await self._mend(Status.PENDING, self.settings.pending_limit_s, ARCHIVE_LANE)
            if is_store_ready
            else 0,
            "requeued": await self._mend(Status.UPLOADED, self.settings.uploaded_limit_s, ANALYSE_LANE),
            "abandoned": await self._mend(Status.EXTRACTING, self.settings.uploaded_limit_s, ANALYSE_LANE)
            + await self._mend(Status.PROCESSING, self.settings.uploaded_limit_s, ANALYSE_LANE),
        }

    async def _mend(self, status: Status, limit_s: float, lane: str) -> int:
        stuck = await photos.list_stuck(self.db, status, older_than_s=limit_s)
        return sum([await self._mend_one(media_id, status, lane, limit_s) for media_id in stuck])

    async def _mend_one(self, media_id: UUID, status: Status, lane: str, limit_s: float) -> bool:
        async with photo_transaction(self.db, self.wakeup) as tx:
            if await photos.lock(tx, media_id) is not status or await queue.is_alive(
                tx.connection, item=media_id, lane=lane
            ):
                return False
            if status is Status.PENDING:
                return bool(await photos.give_up(tx, [media_id], reason=f"not stored within {limit_s:g} s"))
            await photos.abandon(tx, [media_id], reason="nobody was working on it")
            await tx.enqueue([photos.analyse_task(media_id)])
            return True

    async def sweep(self) -> Counts:
        """Delete what is over: finished tasks, expired tokens, places of dead sockets, old samples, nodes that left."""
        return {
            "tasks": await queue.purge_finished(self.db, older_than_s=self.settings.task_retention_s),
            "tokens": affected(await self.db.execute(SQL.expire_tokens, CLOCKS_APART_S)),
            "places": affected(await self.db.execute(SQL.free_places, self.settings.offline_s)),
            "failures": affected(await self.db.execute(SQL.expire_failures, KEEP_FAILURES_S)),
            "samples": affected(await self.db.execute(SQL.expire_samples, KEEP_SAMPLES_S)),
            "history": await self._expire_history(),
            "sessions": affected(await self.db.execute(SQL.expire_sessions, KEEP_SESSIONS_S)),
            "messages": affected(await self.db.execute(SQL.expire_mail, KEEP_MAIL_S)),
            "actors": affected(await self.db.execute(SQL.forget_silent_nodes, FORGET_NODE_S)),
        }

    async def _expire_history(self) -> int:
        """Delete what was measured and is older than it is kept; return how many rows of the machines'."""
        await self.db.execute(SQL.expire_traffic, KEEP_TRAFFIC_S, KEEP_BATCHES_S)
        await self.db.execute(SQL.expire_days, self.settings.keep_days_s)
        expired = await self.db.execute(
            SQL.expire_history, self.settings.keep_minutes_s, self.settings.keep_hours_s, self.settings.keep_days_s
        )
        return affected(expired)
