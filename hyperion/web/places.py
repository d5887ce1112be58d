"""How many sockets a user may have open, on all web processes together."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from hyperion import logs
from hyperion.db import Database, load_queries
from hyperion.errors import DatabaseUnavailable
from hyperion.web.problems import Problem

log = logs.get_logger()

SQL = load_queries(__package__, "places.sql")

PLACES_PER_USER = 20
TRIES = 3  # to lose a place to somebody quicker, who took another of the free ones than we at random
RETRY_S = 1.0
RENEW_S = 30.0


@dataclass(frozen=True, eq=False)
class _Place:
    """What one socket holds. Two of them can be of one number, if the first one's row was swept."""

    user_id: str
    number: int


class SocketPlaces:
    """The places that this process, `boot`, holds for its users.

    They are rows, so that they count on every process, and free once the process that holds them is
    `silent_s` silent, gone or replaced. What is left is given back in the background: a place whose
    row could not be deleted, or whose taking was not answered, is tried again until it is free.

    After a database that was away for long all processes look silent, and the rows of those that live are
    swept as well. So every `renew_s` seconds what is missing is written again: without it the user's
    sockets are too many, and nothing wakes them.
    """

    def __init__(self, db: Database, *, boot: int, silent_s: float, renew_s: float = RENEW_S) -> None:
        self._db = db
        self._boot = boot
        self._silent_s = silent_s
        self._renew_s = renew_s
        self._renew_at_s = time.monotonic() + renew_s
        self._held: set[_Place] = set()
        self._users_to_tidy: set[str] = set()
        self._something_to_tidy = asyncio.Event()
        self._turn = asyncio.Lock()  # nothing is given back that was taken and not yet answered

    @asynccontextmanager
    async def hold(self, user_id: str) -> AsyncIterator[None]:
        """Hold one of the user's places for the time of the block.

        Raises Problem 429 when all are taken, DatabaseUnavailable.
        """
        place = await self._take(user_id)
        try:
            yield
        finally:
            self._held.discard(place)
            self._leave(user_id)

    async def run(self) -> None:
        """Give back what is left, and hold on to what is in use, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._renew_at_s - time.monotonic())):
                    await self._something_to_tidy.wait()
            self._something_to_tidy.clear()
            try:
                await self.run_once()
            except DatabaseUnavailable as error:
                log.warning("sockets.tidying_failed", reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def run_once(self) -> None:
        """Delete the rows that stand for no socket any more, and when it is time write those that are missing.

        Raises DatabaseUnavailable.
        """
        async with self._turn:
            if self._users_to_tidy:
                await self._tidy_all()
            now_s = time.monotonic()
            if now_s >= self._renew_at_s:
                await self._renew()
                self._renew_at_s = now_s + self._renew_s

    async def _take(self, user_id: str) -> _Place:
        async with self._turn:
            if user_id in self._users_to_tidy:
                await self._tidy_all()  # who closes one socket and opens the next must find a place
            try:
                for _ in range(TRIES):
                    number: int | None = await self._db.fetch_value(
                        SQL.take_place, user_id, self._boot, PLACES_PER_USER, self._silent_s
                    )
                    if number is not None:
                        place = _Place(user_id, number)
                        self._held.add(place)
                        return place
            except BaseException:
                self._leave(user_id)  # it may be ours although the answer was lost
                raise
        raise Problem(429, "too_many_sockets", "Too many open sockets.", headers={"Retry-After": "30"})

    async def _tidy_all(self) -> None:
        users, self._users_to_tidy = self._users_to_tidy, set()
        held = [place for place in self._held if place.user_id in users]
        try:
            await self._db.execute(SQL.keep_only, self._boot, list(users), *_columns(held))
        except BaseException:
            self._leave(*users)
            raise

    async def _renew(self) -> None:
        if self._held:
            await self._db.execute(SQL.renew, self._boot, *_columns(self._held))

    def _leave(self, *user_ids: str) -> None:
        self._users_to_tidy.update(user_ids)
        self._something_to_tidy.set()


def _columns(places: Collection[_Place]) -> tuple[list[str], list[int]]:
    return [place.user_id for place in places], [place.number for place in places]
