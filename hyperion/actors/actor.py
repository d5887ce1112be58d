"""What every actor does besides its work: register, beat, read its mail, stop when told to."""

import asyncio
import multiprocessing
import os
import signal
import time
from typing import ClassVar

from hyperion import logs
from hyperion.actors import mailbox
from hyperion.actors.mailbox import MAIL_CHANNEL, SQL
from hyperion.actors.specs import Life
from hyperion.db import Database
from hyperion.db.backoff import Backoff
from hyperion.errors import DatabaseUnavailable, LifeOver
from hyperion.queue import Wakeup
from hyperion.settings import Settings

log = logs.get_logger()

EXIT_ASKED = 0
EXIT_BUG = 1
EXIT_DRAINED = 3
EXIT_LIFE_OVER = 4
EXIT_ORPHANED = 5
RETRY_S = 0.5
SHOWN_WITHIN_S = 0.2
LAST_RINGS_S = 0.5
RENEW_RETRY_LAST_S = 5.0


class Actor:
    """One process with its own loop, connections and heartbeat. Subclasses bring `work`.

    `work` runs until it is cancelled (stop), or returns because it is `draining`. It calls
    `mark_ready` when it can do what it is for.
    """

    max_connections: ClassVar[int] = 3
    index_plans: ClassVar[bool] = True

    def __init__(self, life: Life, settings: Settings) -> None:
        self.life = life
        self.settings = settings
        self.db = Database(
            settings.database_url,
            name=life.label,
            max_connections=self.max_connections,
            index_plans=self.index_plans,
        )
        self.wakeup = Wakeup(self.db)
        self.is_paused = False
        self.draining = asyncio.Event()
        self._state = "starting"
        self._task: tuple[int | None, str | None, float | None] = (None, None, None)
        self._mail = self.wakeup.bell(MAIL_CHANNEL)
        self._beat_now = asyncio.Event()
        self._beat_soon: asyncio.TimerHandle | None = None
        self._lag_s = 0.0
        self._work: asyncio.Task[None] | None = None
        self._stop_asked = False

    async def work(self) -> None:
        """Do what the actor is for. Must hand back what it holds when cancelled."""
        raise NotImplementedError

    async def renew(self) -> None:
        """Renew what the actor holds; called three times within the term of a lease."""

    def obeyed(self) -> None:
        """Look up: a pause began or is over, or there is to be no more work."""

    def open_sockets(self) -> int:
        """Return how many sockets of clients are open."""
        return 0

    def mark_ready(self) -> None:
        """Tell the supervisor, by the next beat (at once), that the work has begun."""
        self._state = "ready"
        self._beat_now.set()

    def show_task(self, task_id: int | None, status: str | None = None, progress: float | None = None) -> None:
        """Show on dashboards what is being worked on; a new task or status within a fifth of a second.

        A photo has four of them, which would be four beats.
        """
        if (task_id, status) != self._task[:2] and self._beat_soon is None:
            self._beat_soon = asyncio.get_running_loop().call_later(SHOWN_WITHIN_S, self._beat_now.set)
        self._task = (task_id, status, progress)

    def stop(self) -> None:
        """Ask the work to end and hand back. May be called twice, and before it began."""
        if self._stop_asked:
            return  # a second cancellation would cut the handing back short
        self._stop_asked = True
        self._state = "stopping"
        if self._work:
            self._work.cancel()

    async def main(self) -> int:
        """Live one life; return the process's exit code."""
        self._watch_signals_and_parent()
        async with self.db:
            try:
                return await self._live() if await self._register() else EXIT_ASKED
            except LifeOver:
                log.warning("actor.superseded", boot=self.life.boot)
                return EXIT_LIFE_OVER

    async def _live(self) -> int:
        self._work = asyncio.create_task(self.work(), name="work")
        if self._stop_asked:
            self._work.cancel()
        background = [
            asyncio.create_task(self.wakeup.run(), name="wakeup"),
            asyncio.create_task(self._beat_forever(), name="heartbeat"),
            asyncio.create_task(self._renew_forever(), name="renewal"),
            asyncio.create_task(self._read_mail_forever(), name="mailbox"),
        ]
        try:
            await asyncio.wait({self._work, *background}, return_when=asyncio.FIRST_COMPLETED)
            if not self._work.done():
                self._work.cancel()
                await asyncio.wait({self._work})
                for task in background:
                    if task.done():
                        task.result()
            await self.wakeup.flush(timeout_s=LAST_RINGS_S)
            return self._exit_code(self._work)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    def _exit_code(self, work: asyncio.Task[None]) -> int:
        if not work.cancelled() and (error := work.exception()):
            raise error
        if self._stop_asked:
            log.info("actor.stopped")
            return EXIT_ASKED
        if self.draining.is_set():
            log.info("actor.drained")
            return EXIT_DRAINED
        log.error("actor.ended_unasked")
        return EXIT_BUG

    def _watch_signals_and_parent(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        parent = multiprocessing.parent_process()
        if parent:
            # The supervisor's end of this pipe closes when it dies, however it dies.
            loop.add_reader(parent.sentinel, os._exit, EXIT_ORPHANED)

    async def _register(self) -> bool:
        """Take the actor's row for this life; False where a stop came before the database answered."""
        life = self.life
        backoff = Backoff(first_s=RETRY_S, last_s=2)  # a stop waits for it
        while True:
            try:
                row = await self.db.fetch_row(
                    SQL.register,
                    life.node,
                    life.spec.name,
                    life.label,
                    life.spec.kind,
                    life.boot,
                    os.getpid(),
                    life.restarts,
                )
                break
            except DatabaseUnavailable:
                if self._stop_asked:
                    return False
                await asyncio.sleep(backoff.next_s())
        if row is None:
            raise LifeOver(life.boot)
        self.is_paused = row["paused"]
        log.info("actor.started", pid=os.getpid(), boot=life.boot, restarts=life.restarts)
        return True

    async def _beat_forever(self) -> None:
        missed = False
        backoff = Backoff(first_s=RETRY_S, last_s=self.settings.heartbeat_s)
        while True:
            wait_s = self.settings.heartbeat_s
            try:
                self._beat_now.clear()
                if self._beat_soon:
                    self._beat_soon.cancel()
                self._beat_soon = None
                if await self._beat():
                    self._mail.strike()
                if missed:
                    log.info("heartbeat.resumed")
                    backoff.reset()
                missed = False
            except DatabaseUnavailable as error:
                if not missed:
                    log.warning("heartbeat.missed", reason=str(error))
                missed = True
                wait_s = backoff.next_s()
            due_s = time.monotonic() + wait_s
            try:
                async with asyncio.timeout(wait_s):
                    await self._beat_now.wait()
            except TimeoutError:
                self._lag_s = max(0.0, time.monotonic() - due_s)

    async def _beat(self) -> bool:
        """Beat once; tell whether there is mail. Raises LifeOver when another life has begun."""
        life = self.life
        row = await self.db.fetch_row(
            SQL.beat,
            life.node,
            life.spec.name,
            life.boot,
            self._state,
            *self._task,
            life.label,
            self._lag_s,
            self.db.in_use,
            self.open_sockets(),
            timeout_s=5,
        )
        if row is None:
            raise LifeOver(life.boot)
        return bool(row["has_mail"])

    async def _renew_forever(self) -> None:
        # Often enough to be first when the database is back: the reaper then waits for half a lease.
        backoff = Backoff(first_s=RETRY_S, last_s=min(RENEW_RETRY_LAST_S, self.settings.lease_s / 6))
        while True:
            try:
                await self.renew()
                backoff.reset()
                await asyncio.sleep(self.settings.lease_s / 3)
            except DatabaseUnavailable:
                await asyncio.sleep(backoff.next_s())

    async def _read_mail_forever(self) -> None:
        while True:
            heard = await self._mail.wait(timeout_s=3600)
            if not mailbox.is_for(heard, self.life.label):
                continue
            try:
                for message_id, _, verb, argument in await mailbox.read(self.db, [self.life.label]):
                    await self._obey(verb, argument)
                    await self._delete_message(message_id)
                    log.info("message.obeyed", verb=verb, argument=argument)
                    if verb in ("drain", "restart"):  # not sooner: its next life would obey it again
                        self._end(verb)
            except DatabaseUnavailable:
                continue  # the next beat says again that there is mail

    async def _delete_message(self, message_id: int) -> None:
        """Delete a message that was obeyed, for certain: once it is gone nobody reminds of its end."""
        backoff = Backoff(first_s=RETRY_S, last_s=2)
        while True:
            try:
                return await mailbox.delete(self.db, [message_id])
            except DatabaseUnavailable:
                await asyncio.sleep(backoff.next_s())

    async def _obey(self, verb: str, argument: str | None) -> None:
        if verb in ("pause", "resume"):
            self.is_paused = verb == "pause"
            await self.db.execute(SQL.set_paused, self.life.node, self.life.spec.name, self.is_paused)
            self.obeyed()
        elif verb == "log_level" and argument in ("debug", "info", "warning", "error"):
            logs.set_level(argument)

    def _end(self, verb: str) -> None:
        if verb == "restart":
            self.stop()
        else:
            self.draining.set()
            self.obeyed()
