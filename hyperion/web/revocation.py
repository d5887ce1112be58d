"""Ends open sockets when their session does: at logout, on expiry, or when the user is deleted.

A token that is refreshed does not end the session: its sockets live on under the token that took its place.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hyperion import logs
from hyperion.db import Database, Record, load_queries
from hyperion.errors import DatabaseUnavailable
from hyperion.queue import Bell
from hyperion.web.clock import Clock

log = logs.get_logger()

SQL = load_queries(__package__, "auth.sql")

REVOKED_CHANNEL = "hyperion_revoked"
CHECK_S = 3.0


@dataclass(eq=False)
class Watched:
    """Something that lives as long as a session: its token now, whose, until when, and how it is ended."""

    jti: str
    user_id: str
    expires_at: datetime
    end: Callable[[], None]


class SessionWatch:
    """Knows the sessions that something open depends on and ends what has lost its own.

    The bell brings the ids of revoked tokens at once; every `check_s` seconds the database is asked
    about all of them, which also finds what the bell did not bring.
    """

    def __init__(self, db: Database, bell: Bell, *, clock: Clock, check_s: float = CHECK_S) -> None:
        self._db = db
        self._bell = bell
        self._clock = clock
        self._check_s = check_s
        self._watched: set[Watched] = set()

    def add(self, watched: Watched) -> None:
        """Start to watch."""
        self._watched.add(watched)

    def discard(self, watched: Watched) -> None:
        """Stop to watch. May be called twice."""
        self._watched.discard(watched)

    async def run(self) -> None:
        """End sessions until cancelled."""
        check_at_s = 0.0
        while True:
            heard = await self._bell.wait(self._wait_s(check_at_s))
            self._end({watched.jti for watched in self._watched if watched.jti in heard})
            self._end({watched.jti for watched in self._watched if watched.expires_at <= self._clock.now()})
            if "" not in heard and time.monotonic() < check_at_s:
                continue
            check_at_s = time.monotonic() + self._check_s
            try:
                await self.run_once()
            except DatabaseUnavailable as error:
                log.warning("sessions.check_failed", reason=str(error))

    async def run_once(self) -> int:
        """End what was revoked or belongs to nobody any more; return how many."""
        ended = 0
        is_settled = False
        while self._watched and not is_settled:
            users = {watched.jti: watched.user_id for watched in self._watched}
            rows = await self._db.fetch(SQL.ended_sessions, list(users), list(users.values()))
            ended += self._end({row["jti"] for row in rows if row["successor"] is None})
            # What took a token's place may be revoked by now as well.
            is_settled = not self._move({row["jti"]: row for row in rows if row["successor"] is not None})
        return ended

    def _wait_s(self, check_at_s: float) -> float:
        now = self._clock.now()
        until_expiry_s = min(((w.expires_at - now).total_seconds() for w in self._watched), default=self._check_s)
        return max(0.0, min(check_at_s - time.monotonic(), until_expiry_s))

    def _move(self, replaced: dict[str, Record]) -> bool:
        for watched in self._watched:
            row = replaced.get(watched.jti)
            if row is not None:
                watched.jti, watched.expires_at = row["successor"], row["successor_expires_at"]
        return bool(replaced)

    def _end(self, jtis: set[str]) -> int:
        ending = [watched for watched in self._watched if watched.jti in jtis]
        for watched in ending:
            self._watched.discard(watched)
            watched.end()
        return len(ending)
