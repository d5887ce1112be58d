"""When the archiver may write to the store next, remembered in the database across its lives."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from hyperion import logs
from hyperion.actors.batching import BatchSize, Bucket, Patience, is_scarce
from hyperion.db import Database
from hyperion.errors import StorePaused
from hyperion.media.store import Store, state
from hyperion.settings import Settings

log = logs.get_logger()

FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 60.0
LOOK_S = 1.0
SHOWN_FROM_S = 1.0  # shorter waits are nobody's concern


class Pace:
    """Keeps the store's own limits and its pauses, and lets everybody see them.

    `patiently` is how the actor asks a database that may be away; `has_work` tells whether
    somebody would notice a wait.
    """

    def __init__(
        self,
        db: Database,
        store: Store,
        *,
        patience: Patience,
        patiently: Callable[[Callable[[], Coroutine[Any, Any, Any]]], Awaitable[Any]],
        has_work: Callable[[], Coroutine[Any, Any, bool]],
    ) -> None:
        limits = store.limits
        self.size = BatchSize(limits)
        self.bucket = Bucket(limits.commits_per_hour, limits.burst) if limits.commits_per_hour else None
        self._db = db
        self._name = store.name
        self._patiently = patiently
        self._has_work = has_work
        self._patience = patience
        self._failures = 0
        self._state = ""
        self._paused_until_s = 0.0
        self._doubtful_until_s = 0.0

    @property
    def is_scarce(self) -> bool:
        """Whether commits are running out, so that each has to carry more."""
        return is_scarce(self.bucket, now_s=time.monotonic())

    @property
    def is_doubtful(self) -> bool:
        """Whether a commit of which the end is not known may still take place."""
        return time.monotonic() < self._doubtful_until_s

    async def load(self) -> None:
        """Take over what an earlier life knew: a pause it was told, commits it spent, a doubt."""
        known = await self._patiently(lambda: state.load(self._db, self._name, late_s=self._patience.late_s))
        now_s = time.monotonic()
        self._state = known.state
        self._paused_until_s = now_s + known.pause_s
        self._doubtful_until_s = now_s + known.doubt_s
        if self.bucket:
            self.bucket.full_at_s = now_s + known.full_in_s

    async def turn(self, *, draining: asyncio.Event | None = None) -> None:
        """Wait until the store may be written to, or `draining` is set."""
        await _sleep(self._paused_until_s - time.monotonic(), draining)
        until_s = time.monotonic() + (self.bucket.wait_s(now_s=time.monotonic()) if self.bucket else 0.0)
        is_told = False
        while (wait_s := until_s - time.monotonic()) > 0 and not (draining and draining.is_set()):
            if self.bucket and not is_told and wait_s > SHOWN_FROM_S and await self._patiently(self._has_work):
                log.info("store.paced", wait_s=round(wait_s, 1))
                detail = f"the limit of {self.bucket.per_hour} commits an hour is reached"
                await self._show("throttled", detail, pause_s=wait_s)
                is_told = True
            await _sleep(wait_s if is_told else min(wait_s, LOOK_S), draining)

    async def begin(self) -> None:
        """Spend a commit, and write down that one is under way."""
        if self.bucket:
            interval_s = self.bucket.interval_s
            await self._patiently(lambda: state.begin_commit(self._db, self._name, interval_s=interval_s))
            self.bucket.spend(now_s=time.monotonic())

    async def failed(self, *, is_unclear: bool) -> None:
        """Note that a commit did not take place, or that nobody knows."""
        if self.bucket:
            doubt_s = self._patience.late_s if is_unclear else None
            await self._patiently(lambda: state.end_commit(self._db, self._name, doubt_s=doubt_s))
            if doubt_s is not None:
                self._doubtful_until_s = max(self._doubtful_until_s, time.monotonic() + doubt_s)

    async def went_through(self) -> None:
        """Note that the store took something; its row is written with the tasks."""
        self._failures = 0
        self.size.went_through()
        if self._state != "ready":
            log.info("store.returned", after=self._state)
            await self._show("ready")

    async def pause(self, error: Exception) -> float:
        """Leave the store alone for as long as `error` calls for; return the seconds."""
        self._failures += 1
        pause_s = self._patience.pause_s(error, failures=self._failures)
        self._paused_until_s = time.monotonic() + pause_s
        kind = error.state if isinstance(error, StorePaused) else "away"
        await self._show(kind, str(error) or type(error).__name__, pause_s=pause_s)
        return pause_s

    async def _show(self, kind: str, detail: str | None = None, *, pause_s: float | None = None) -> None:
        self._state = kind
        await self._patiently(lambda: state.report(self._db, self._name, kind, detail, pause_s=pause_s))


async def _sleep(seconds: float, draining: asyncio.Event | None) -> None:
    if draining is None:
        await asyncio.sleep(seconds)
    elif seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await draining.wait()


def patience_of(settings: Settings) -> Patience:
    """Return how long to leave the store of the settings alone."""
    if not settings.hf_repo_id:
        return Patience(first_s=FIRST_PAUSE_S, last_s=LAST_PAUSE_S, refused_s=LAST_PAUSE_S, longest_s=LAST_PAUSE_S)
    return Patience(
        first_s=settings.hub_first_pause_s,
        last_s=settings.hub_last_pause_s,
        refused_s=settings.hub_refused_pause_s,
        longest_s=settings.hub_longest_wait_s,
        late_s=settings.hub_late_s,
    )
