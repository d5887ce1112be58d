"""Wake-ups: NOTIFY sent and heard on one connection of its own.

A wake-up saves waiting and never carries the truth: whoever waits for a bell also looks by itself
from time to time. NOTIFY is sent after the business transaction, outside it, because inside it
would take a lock on the whole database at commit.
"""

import asyncio
import os
from collections import defaultdict
from contextlib import suppress
from typing import Any

from hyperion import logs
from hyperion.db import Connection, Database
from hyperion.db.backoff import Backoff
from hyperion.db.pool import translated_errors
from hyperion.errors import DatabaseUnavailable

log = logs.get_logger()

COALESCE_S = 0.005
SELF_TEST_S = 30.0
SELF_TEST_LIMIT_S = 5.0
PAYLOAD_LIMIT_BYTES = 7900  # NOTIFY takes less than 8000


def lane_channel(lane: str) -> str:
    """Return the channel on which a lane's new tasks are announced."""
    return f"hyperion_lane_{lane}"


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

    `run` keeps it alive until it is cancelled. Every `self_test_s` seconds, however much it sends,
    it tests itself by a notification to itself, which must arrive within `self_test_limit_s`: so a
    connection which is half open, or a pooler that swallows LISTEN, is found out. After every
    reconnection all bells are struck once: something may have been missed.
    """

    def __init__(
        self, db: Database, *, self_test_s: float = SELF_TEST_S, self_test_limit_s: float = SELF_TEST_LIMIT_S
    ) -> None:
        self._db = db
        self._self_test_s = self_test_s
        self._self_test_limit_s = self_test_limit_s
        self._backoff = Backoff()
        self._bells: defaultdict[str, list[Bell]] = defaultdict(list)
        self._to_send: defaultdict[str, set[str]] = defaultdict(set)
        self._outgoing = asyncio.Event()
        self._echo_channel = f"hyperion_echo_{os.getpid()}_{id(self):x}"
        self._echo = asyncio.Event()
        self._is_sending = False

    def bell(self, channel: str) -> Bell:
        """Return a new bell for `channel`. Ask for all bells before `run` is started."""
        bell = Bell()
        self._bells[channel].append(bell)
        return bell

    def ring(self, channel: str, payload: str = "") -> None:
        """Wake whoever waits on `channel`, anywhere: the first time at once, then gathered over 5 ms."""
        self._to_send[channel].add(payload)
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
            except DatabaseUnavailable as error:
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
            await connection.add_listener(self._echo_channel, lambda *_: self._echo.set())
            for channel in self._bells:
                await connection.add_listener(channel, self._heard)
            self._backoff.reset()
            for bells in self._bells.values():
                for bell in bells:
                    bell.strike()
            loop = asyncio.get_running_loop()
            test_at_s = loop.time() + self._self_test_s
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(test_at_s):
                        await self._outgoing.wait()
                if lost.is_set():
                    raise DatabaseUnavailable("the server closed the connection")
                if loop.time() >= test_at_s:
                    await self._test(connection)
                    test_at_s = loop.time() + self._self_test_s
                await self._send(connection)
                await asyncio.sleep(COALESCE_S)

    async def _send(self, connection: Connection) -> None:
        self._outgoing.clear()
        sending, self._to_send = self._to_send, defaultdict(set)
        rows = [(channel, text) for channel, payloads in sending.items() for text in _joined(payloads)]
        if not rows:
            return
        self._is_sending = True
        try:
            await connection.execute(
                "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload)",
                [channel for channel, _ in rows],
                [payload for _, payload in rows],
                timeout=self._self_test_limit_s,
            )
        except BaseException:
            for channel, payloads in sending.items():
                self._to_send[channel] |= payloads
            self._outgoing.set()
            raise
        finally:
            self._is_sending = False

    async def _test(self, connection: Connection) -> None:
        self._echo.clear()
        await connection.execute("SELECT pg_notify($1, '')", self._echo_channel, timeout=self._self_test_limit_s)
        async with asyncio.timeout(self._self_test_limit_s):
            await self._echo.wait()

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        for bell in self._bells[channel]:
            for part in str(payload).split(","):
                bell.strike(part)


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
