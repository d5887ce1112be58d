"""Wake-ups: NOTIFY sent after a commit, and heard on a connection of its own.

A wake-up saves waiting and never carries the truth: whoever waits for a bell also looks by itself
from time to time. NOTIFY is not part of the business transaction, where it would hold a lock on the
whole database until the commit is on the disk: it follows the COMMIT in the same message, as a
transaction of its own. What would be the second within 5 ms is gathered and sent by itself.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from hyperion import logs
from hyperion.db import Connection, Database
from hyperion.db.backoff import Backoff
from hyperion.db.pool import translated_errors
from hyperion.errors import DatabaseUnavailable

log = logs.get_logger()

COALESCE_S = 0.005
SELF_TEST_S = 30.0
SELF_TEST_LIMIT_S = 5.0
ECHO_CHANNEL = "hyperion_echo"
MOST_WOKEN = 1000
PAYLOAD_LIMIT_BYTES = 7900  # NOTIFY takes less than 8000


def claimer_channel(boot: int) -> str:
    """Return the channel on which the function `task_wake` wakes one claimer."""
    return f"hyperion_claimer_{boot}"


class Rings:
    """Bells that are to be rung together: channels and functions with payloads, lanes with numbers of new tasks."""

    def __init__(self) -> None:
        self._channels: defaultdict[str, set[str]] = defaultdict(set)
        self._functions: defaultdict[str, set[str]] = defaultdict(set)
        self._lanes: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._channels or self._functions or self._lanes)

    def channel(self, name: str, payload: str = "") -> None:
        """Wake whoever listens there. An empty payload means: look at everything."""
        self._channels[name].add(payload)

    def function(self, name: str, payload: str) -> None:
        """Wake whom a function of the database chooses; it gets its payloads as one array of text."""
        self._functions[name].add(payload)

    def lane(self, name: str, tasks: int = 1) -> None:
        """Wake as many of those who wait for work in the lane."""
        self._lanes[name] += tasks

    def add(self, other: "Rings") -> None:
        """Ring what `other` rings, too."""
        for name, payloads in other._channels.items():
            self._channels[name] |= payloads
        for name, payloads in other._functions.items():
            self._functions[name] |= payloads
        self._lanes.update(other._lanes)

    def statements(self) -> str:
        """Return the SQL that rings them; to be run as a transaction of its own, which waits for no disk."""
        if not self:
            return ""
        calls = ["set_config('synchronous_commit', 'off', true)"]
        for name, payloads in self._channels.items():
            calls += [f"pg_notify({_literal(name)}, {_literal(text)})" for text in _joined(payloads)]
        for name, payloads in self._functions.items():
            calls.append(f"{name}(ARRAY[{', '.join(map(_literal, sorted(payloads)))}])")
        calls += [f"task_wake({_literal(lane)}, {min(tasks, MOST_WOKEN)})" for lane, tasks in self._lanes.items()]
        return "".join(f"SELECT {call};" for call in calls)


class Bell:
    """What one waiter hears of a channel: an event and the payloads since it last looked."""

    def __init__(self) -> None:
        self._struck = asyncio.Event()
        self._payloads: set[str] = set()

    def strike(self, payload: str = "") -> None:
        """Wake the waiter. An empty payload means: look at everything."""
        self._payloads.add(payload)
        self._struck.set()

    async def wait(self, timeout_s: float) -> set[str]:
        """Wait for a strike; return the payloads heard, none when the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._struck.wait()
        except TimeoutError:
            return set()
        self._struck.clear()
        heard, self._payloads = self._payloads, set()
        return heard


class Wakeup:
    """One connection that listens for bells and rings those of others.

    `run` keeps it alive until it is cancelled. When it has heard no echo for `self_test_s` seconds or a
    little longer it asks for one, by a notification to all, which must come back within `self_test_limit_s`: so a
    connection which is half open, or a pooler that swallows LISTEN, is found out. After every
    reconnection all bells are struck once: something may have been missed.
    """

    def __init__(
        self, db: Database, *, self_test_s: float = SELF_TEST_S, self_test_limit_s: float = SELF_TEST_LIMIT_S
    ) -> None:
        self.connected = 0  # so many times
        self._db = db
        self._self_test_s = self_test_s
        self._self_test_limit_s = self_test_limit_s
        self._backoff = Backoff()
        self._bells: defaultdict[str, list[Bell]] = defaultdict(list)
        self._to_send = Rings()
        self._sent_at_s = 0.0
        self._outgoing = asyncio.Event()
        self._echo = asyncio.Event()
        self._test_at_s = 0.0
        self._is_sending = False

    def bell(self, channel: str) -> Bell:
        """Return a new bell for `channel`. Ask for all bells before `run` is started."""
        bell = Bell()
        self._bells[channel].append(bell)
        return bell

    def ring(self, channel: str, payload: str = "") -> None:
        """Wake whoever waits on `channel`, anywhere: the first time at once, then gathered over 5 ms."""
        self._to_send.channel(channel, payload)
        self._outgoing.set()

    def ring_lane(self, lane: str, tasks: int = 1) -> None:
        """Wake as many of those who wait for work in `lane`, in the same way."""
        self._to_send.lane(lane, tasks)
        self._outgoing.set()

    @asynccontextmanager
    async def transaction(self, db: Database) -> AsyncIterator[tuple[Connection, Rings]]:
        """Open a transaction of `db` with rings: what is put into them is rung when it is committed."""
        rings = Rings()
        late = Rings()

        def then() -> str:
            if not rings:
                return ""
            if time.monotonic() - self._sent_at_s < COALESCE_S:
                late.add(rings)
                return ""
            self._sent_at_s = time.monotonic()
            return rings.statements()

        try:
            async with db.transaction(then=then) as connection:
                yield connection, rings
        finally:
            if late:  # also where nobody knows how the commit ended: it may have taken place
                self._to_send.add(late)
                self._outgoing.set()

    async def flush(self, *, timeout_s: float) -> None:
        """Wait until what was rung is sent, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._to_send or self._is_sending:
                    await asyncio.sleep(COALESCE_S)

    async def run(self) -> None:
        """Connect, listen and send, and do it again whenever the connection fails."""
        while True:
            try:
                connection = await self._db.connect(durable=False)  # NOTIFY would wait for the disk
            except DatabaseUnavailable:
                await asyncio.sleep(self._backoff.next_s())
                continue
            try:
                await self._serve(connection)
            except (DatabaseUnavailable, asyncpg.ProgramLimitExceededError) as error:  # or NOTIFY's queue is full
                log.warning("wakeup.connection_lost", reason=str(error))
                await asyncio.sleep(self._backoff.next_s())
            finally:
                connection.terminate()

    async def _serve(self, connection: Connection) -> None:
        lost = asyncio.Event()

        def closed(_connection: object) -> None:
            lost.set()
            self._outgoing.set()

        connection.add_termination_listener(closed)
        with translated_errors():
            await connection.add_listener(ECHO_CHANNEL, self._heard_echo)
            for channel in self._bells:
                await connection.add_listener(channel, self._heard)
            self._backoff.reset()
            self.connected += 1
            for bells in self._bells.values():
                for bell in bells:
                    bell.strike()
            loop = asyncio.get_running_loop()
            self._heard_echo()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._test_at_s):
                        await self._outgoing.wait()
                if lost.is_set():
                    raise DatabaseUnavailable("the server closed the connection")
                if loop.time() >= self._test_at_s:
                    await self._test(connection)
                await self._send(connection)
                await asyncio.sleep(COALESCE_S)

    async def _send(self, connection: Connection) -> None:
        self._outgoing.clear()
        sending, self._to_send = self._to_send, Rings()
        if not sending:
            return
        self._is_sending = True
        self._sent_at_s = time.monotonic()
        try:
            await connection.execute(sending.statements(), timeout=self._self_test_limit_s)
        except BaseException:
            self._to_send.add(sending)
            self._outgoing.set()
            raise
        finally:
            self._is_sending = False

    async def _test(self, connection: Connection) -> None:
        self._echo.clear()
        await connection.execute("SELECT pg_notify($1, '')", ECHO_CHANNEL, timeout=self._self_test_limit_s)
        async with asyncio.timeout(self._self_test_limit_s):
            await self._echo.wait()

    def _heard_echo(self, *_notification: object) -> None:
        """Put the next test off: who asked for this echo has asked for everybody who hears it."""
        self._echo.set()
        term_s = self._self_test_s * random.uniform(1, 1.5)  # noqa: S311  (so that one asks and the others hear)
        self._test_at_s = asyncio.get_running_loop().time() + term_s

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        for bell in self._bells[channel]:
            for part in str(payload).split(","):
                bell.strike(part)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _joined(payloads: set[str]) -> list[str]:
    """Join payloads with commas into as few texts as the limit of NOTIFY allows."""
    if "" in payloads:
        return [""]
    texts: list[str] = []
    current = ""
    for payload in sorted(payloads):
        longer = f"{current},{payload}" if current else payload
        if len(longer.encode()) > PAYLOAD_LIMIT_BYTES:
            texts.append(current)
            longer = payload
        current = longer
    return [*texts, current]
