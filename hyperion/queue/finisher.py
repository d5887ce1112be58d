"""Finishing many tasks with few commits, without making anybody wait for a timer."""

import asyncio
from collections.abc import Callable, Sequence

from hyperion import logs
from hyperion.db import Database
from hyperion.db.backoff import Backoff
from hyperion.errors import DatabaseUnavailable
from hyperion.queue.tasks import SQL, Lease, settled

log = logs.get_logger()


class Finisher:
    """Group commit for tasks that have no result of their own to write.

    One flush is in flight; what is added meanwhile makes the next. A lone task is finished at once,
    a thousand a second share their commits. Until a flush has come through its leases stay held, so
    a crash costs a repetition and never a task.

    `on_settled` gets the leases of every flush, whether they were still ours or not (stop renewing
    them); `on_lost` those that were in other hands.
    """

    def __init__(
        self,
        db: Database,
        *,
        on_settled: Callable[[Sequence[Lease]], None],
        on_lost: Callable[[Sequence[Lease]], None] = lambda leases: None,
    ) -> None:
        self._connection = db.held()
        self._on_settled = on_settled
        self._on_lost = on_lost
        self._waiting: list[Lease] = []
        self._added = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """Open the connection and plan the statement, so that no flush waits for that. Raises DatabaseUnavailable."""
        await self._connection.fetch(SQL.finish, [], [], 0)

    def add(self, leases: Sequence[Lease]) -> None:
        """Let the next flush finish these tasks. Never blocks."""
        self._waiting.extend(leases)
        self._idle.clear()
        self._added.set()

    async def drained(self) -> None:
        """Wait until everything that was added is settled."""
        await self._idle.wait()

    async def run(self) -> None:
        """Flush until cancelled; while the database is away, try again and again."""
        while True:
            await self._added.wait()
            self._added.clear()
            batch, self._waiting = self._waiting, []
            await self._flush(batch)
            if not self._waiting:
                self._idle.set()

    async def _flush(self, batch: list[Lease]) -> None:
        backoff = Backoff(first_s=0.05)
        is_repeated = False
        while True:
            try:
                done = await settled(self._connection, batch)
                break
            except DatabaseUnavailable as error:
                log.warning("finish.postponed", tasks=len(batch), reason=str(error))
            is_repeated = True
            await asyncio.sleep(backoff.next_s())
        self._on_settled(batch)
        # After a commit whose answer was lost a lease that is gone may have been finished by us.
        if not is_repeated and len(done) < len(batch):
            self._on_lost([lease for lease in batch if lease.task_id not in done])
