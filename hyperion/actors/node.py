"""The supervisor's dealings with the database: its node's name, its actors' rows, their tasks."""

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass

from hyperion import logs
from hyperion.actors import mailbox
from hyperion.actors.mailbox import SQL
from hyperion.actors.specs import ActorSpec, Life, label
from hyperion.db import Connection, Database
from hyperion.db.backoff import Backoff
from hyperion.db.leader import TRY_LOCK, watch
from hyperion.db.pool import translated_errors
from hyperion.errors import DatabaseUnavailable, NodeTaken
from hyperion.media import recovery
from hyperion.queue import Wakeup
from hyperion.settings import Settings

log = logs.get_logger()

NAME_WAIT_S = 5.0
RETRY_FIRST_S = 0.25
RETRY_LAST_S = 2.0  # a name that nobody holds may be taken by somebody else
OBSERVE_S = 2.0
PAUSE_S = OBSERVE_S + 2.0  # between two answers: a slow one is an answer, but longer than this we were stopped


@dataclass(frozen=True)
class Sighting:
    """An actor's row as the supervisor last read it."""

    boot: int
    state: str
    silent_s: float


class Node:
    """This node in the database. The name is held by an advisory lock, as long as we live."""

    def __init__(self, settings: Settings, db: Database, wakeup: Wakeup) -> None:
        self.name = settings.node
        self.has_bare_names = False
        self.is_away = False
        self._answering_since_s = self._answered_at_s = time.monotonic()
        self._settings = settings
        self._db = db
        self._wakeup = wakeup
        self._next_boot = 0
        self._lock_connection: Connection | None = None

    @property
    def answering_s(self) -> float:
        """Seconds for which the database has answered without a break; 0 while it is away."""
        return 0.0 if self.is_away else time.monotonic() - self._answering_since_s

    async def join(self) -> None:
        """Take the node's name and free what an earlier supervisor of that name left behind.

        Raises NodeTaken, DatabaseUnavailable.
        """
        if not self._lock_connection:
            self.has_bare_names = await self._take_name()
        self._next_boot = await self._db.fetch_value(SQL.join_node, self.name, os.getpid())
        left = [row["boot"] for row in await self._db.fetch(SQL.list_boots, self.name)]
        if left:
            await self.rescue(left, who=f"a worker of {self.name}")
        await self._db.execute(SQL.forget_actors, self.name)
        self._answered(time.monotonic(), again=True)
        log.info("node.joined", bare_names=self.has_bare_names)

    async def keep_name(self) -> None:
        """Take the name again whenever the connection that holds it is lost.

        Raises NodeTaken when somebody else was faster: two supervisors of one name destroy each
        other's rows, so this one has to end.
        """
        backoff = Backoff(first_s=RETRY_FIRST_S, last_s=RETRY_LAST_S)
        while True:
            with suppress(DatabaseUnavailable):
                if self._lock_connection:
                    await watch(self._lock_connection)
            self._lock_connection = None
            await asyncio.sleep(backoff.next_s())
            with suppress(DatabaseUnavailable):
                await self._take_name()
                backoff.reset()

    async def leave(self) -> None:
        """Forget the node, if it is still ours: it has stopped cleanly."""
        if self._lock_connection and not self._lock_connection.is_closed():
            await self._db.execute(SQL.leave_node, self.name, timeout_s=2)
            self._lock_connection.terminate()

    def new_life(self, spec: ActorSpec, *, restarts: int) -> Life:
        """Name the next life of an actor; its boot id is higher than all before it."""
        boot, self._next_boot = self._next_boot, self._next_boot + 1
        shown = self.label_of(spec)
        return Life(spec=spec, node=self.name, label=shown, boot=boot, restarts=restarts)

    def label_of(self, spec: ActorSpec) -> str:
        """Return the name under which people know the actor."""
        return label(spec.name, node=self.name, has_bare_names=self.has_bare_names)

    async def observe(self, state: str) -> dict[str, Sighting]:
        """Beat for the node; return its actors by name. Raises DatabaseUnavailable.

        Keeps `is_away` and `answering_s`.
        """
        try:
            rows = await self._db.fetch(SQL.observe, self.name, state, os.getpid(), timeout_s=5)
        except DatabaseUnavailable as error:
            if not self.is_away:
                log.error("database.lost", reason=str(error))
            self.is_away = True
            raise
        if self.is_away:
            log.info("database.returned")
        self._answered(time.monotonic(), again=self.is_away)
        return {row["name"]: Sighting(row["boot"], row["state"], row["silent_s"]) for row in rows}

    async def bury(self, life: Life, *, is_crash: bool, is_drained: bool) -> None:
        """Free what a dead child was working on and show that it is gone. Raises DatabaseUnavailable."""
        await self.rescue([life.boot], who=life.label, is_crash=is_crash)
        state = "drained" if is_drained else "gone"
        await self._db.execute(SQL.mark_gone, self.name, life.spec.name, life.boot, state, timeout_s=5)

    async def rescue(self, boots: list[int], *, who: str, is_crash: bool = True) -> None:
        """Free the leases of dead boots. Raises DatabaseUnavailable."""
        freed = await recovery.rescue_boots(
            self._db, self._wakeup, boots, who=who, max_crashes=self._settings.max_crashes, is_crash=is_crash
        )
        if freed.returned or freed.dead:
            log.warning("lease.rescued", who=who, returned=freed.returned, dead=freed.dead)

    async def restarts_asked_for(self, labels: list[str]) -> list[tuple[int, str]]:
        """List the messages by which actors that have no process are to begin a new life, as (message id, label).

        With each `restart` goes a `drain` that came before it: the actor is down already.
        """
        mail = await mailbox.read(self._db, labels)
        last = {recipient: message_id for message_id, recipient, verb, _ in mail if verb == "restart"}
        return [
            (message_id, recipient)
            for message_id, recipient, verb, _ in mail
            if verb in ("drain", "restart") and message_id <= last.get(recipient, 0)
        ]

    async def obeyed(self, message_ids: list[int]) -> None:
        """Delete messages that were acted upon."""
        await mailbox.delete(self._db, message_ids)

    def _answered(self, now_s: float, *, again: bool) -> None:
        """Note that the database answered; time in which we did not ask, being stopped, is no answer."""
        if again or now_s - self._answered_at_s > PAUSE_S:
            self._answering_since_s = now_s
        self._answered_at_s = now_s
        self.is_away = False

    async def _take_name(self) -> bool:
        """Lock the node's name; tell whether the bare names were free as well."""
        connection = await self._db.connect()
        try:
            with translated_errors():
                await self._lock_name(connection)
                is_first = bool(await connection.fetchval(TRY_LOCK, "hyperion:bare-names"))
        except BaseException:
            connection.terminate()
            raise
        self._lock_connection = connection
        return is_first

    async def _lock_name(self, connection: Connection) -> None:
        deadline_s = time.monotonic() + NAME_WAIT_S  # a killed predecessor's lock takes a moment to go
        while not await connection.fetchval(TRY_LOCK, f"hyperion:node:{self.name}"):
            if time.monotonic() > deadline_s:
                raise NodeTaken(self.name)
            await asyncio.sleep(0.05)
