"""How many sockets a user may have open, on all web processes together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hyperion import logs
from hyperion.db import Database, load_queries
from hyperion.errors import DatabaseUnavailable
from hyperion.web.problems import Problem

log = logs.get_logger()

SQL = load_queries(__package__, "places.sql")

PLACES_PER_USER = 20
TRIES = 3  # to lose a place to somebody quicker, who took another of the free ones than we at random
RETRY_S = 1.0


class SocketPlaces:
    """The places that this process, `boot`, holds for its users.

    They are rows, so that they count on every process, and free once the process that holds them is
    `silent_s` silent, gone or replaced. What is left is given back in the background: a place whose
    row could not be deleted, or whose taking was not answered, is tried again until it is free.
    """

    def __init__(self, db: Database, *, boot: int, silent_s: float) -> None:
        self._db = db
        self._boot = boot
        self._silent_s = silent_s
        self._held: set[tuple[str, int]] = set()
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
            self._held.discard((user_id, place))
            self._leave(user_id)

    async def run(self) -> None:
        """Give back what is left until cancelled."""
        while True:
            await self._something_to_tidy.wait()
            self._something_to_tidy.clear()
            try:
                await self.run_once()
            except DatabaseUnavailable as error:
                log.warning("sockets.tidying_failed", reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def run_once(self) -> None:
        """Delete the rows that stand for no socket any more. Raises DatabaseUnavailable."""
        async with self._turn:
            await self._tidy_all()

    async def _take(self, user_id: str) -> int:
        async with self._turn:
            if user_id in self._users_to_tidy:
                await self._tidy_all()  # who closes one socket and opens the next must find a place
            try:
                for _ in range(TRIES):
                    place: int | None = await self._db.fetch_value(
                        SQL.take_place, user_id, self._boot, PLACES_PER_USER, self._silent_s
                    )
                    if place is not None:
                        self._held.add((user_id, place))
                        return place
            except BaseException:
                self._leave(user_id)  # it may be ours although the answer was lost
                raise
        raise Problem(429, "too_many_sockets", "Too many open sockets.", headers={"Retry-After": "30"})

    async def _tidy_all(self) -> None:
        users, self._users_to_tidy = self._users_to_tidy, set()
        held = [(user, place) for user, place in self._held if user in users]
        try:
            await self._db.execute(
                SQL.keep_only, self._boot, list(users), [user for user, _ in held], [place for _, place in held]
            )
        except BaseException:
            self._leave(*users)
            raise

    def _leave(self, *user_ids: str) -> None:
        self._users_to_tidy.update(user_ids)
        self._something_to_tidy.set()
