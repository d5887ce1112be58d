"""The live feed: reads what changed and hands it to every reader that is connected.

A user's history rows are numbered in the order of their commits, without a gap that could fill
later, so a reader's place is one number and `seq > place` is all that it has missed.
"""

import asyncio
import time
from collections import Counter
from uuid import UUID

import msgspec

from hyperion import logs
from hyperion.db import Database, Record, load_queries
from hyperion.errors import DatabaseUnavailable
from hyperion.media.status import Status
from hyperion.media.store import Store
from hyperion.queue import Bell
from hyperion.web import links
from hyperion.web.kinds import Instant
from hyperion.web.outbox import Outbox, TooSlow

log = logs.get_logger()

SQL = load_queries(__package__, "live.sql")

POLL_S = 1.0
PAGE = 100  # changes, and users: to read, encode and send them takes 4 ms, for which all others wait
SPARED = PAGE // 10  # places that those just heard of leave to those who wait
MOST_REPLAYS = 4  # that read at once; when everybody comes back the feed and requests need connections too
EVERYONE = {""}  # as a bell says it


class MediaStatusUpdate(msgspec.Struct, frozen=True, tag_field="type", tag="MEDIA_STATUS_UPDATE"):
    """One change of one photo, as it goes over the wire."""

    media_id: UUID
    status: Status
    worker: str | None
    timestamp: Instant
    img_url: str | None
    image_url: str | None
    address: str | None
    seq: int


class Reader:
    """One client that follows a user's changes from `place` on. `is_live`: it has caught up."""

    def __init__(self, user_id: str, place: int, outbox: Outbox) -> None:
        self.user_id = user_id
        self.place = place
        self.outbox = outbox
        self.is_live = False


class _Following:
    """A user who has readers, and how far their changes have been handed out."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.readers: set[Reader] = set()


class LiveFeed:
    """The changes of all connected users, a page at a time.

    The bell brings the ids of users whose photos changed. It only saves waiting; polling is the truth: every second
    all are read. A query reads a page, which its users share, those first who were just heard of; but a tenth of its
    places is for those who wait. Who did not fit in, or has more, is read by the next. So nobody waits for the end of
    somebody else's thousands.
    """

    def __init__(self, db: Database, store: Store, bell: Bell, *, poll_s: float = POLL_S) -> None:
        self._db = db
        self._store = store
        self._bell = bell
        self._poll_s = poll_s
        self._following: dict[str, _Following] = {}
        self._heard: list[str] = []  # users who were heard of and did not fit in
        self._unread: list[str] = []  # other users of whom there may be more to read, in turn
        self._replays = asyncio.Semaphore(MOST_REPLAYS)

    async def current_seq(self, user_id: str) -> int:
        """Return the number of the user's last change. Raises DatabaseUnavailable."""
        return int(await self._db.fetch_value(SQL.current_seq, user_id))

    def join(self, user_id: str, outbox: Outbox, *, since: int, current: int) -> Reader:
        """Add a reader that has seen everything up to `since`; `current` is from `current_seq`.

        It gets nothing by itself until `catch_up` is through.
        """
        following = self._following.setdefault(user_id, _Following(current))
        reader = Reader(user_id, min(since, max(current, following.seq)), outbox)
        following.readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Remove a reader. May be called twice."""
        following = self._following.get(reader.user_id)
        if following:
            following.readers.discard(reader)
            if not following.readers:
                del self._following[reader.user_id]

    async def catch_up(self, reader: Reader) -> None:
        """Send what the reader has missed, a page at a time, as fast as it takes it; then it is live.

        The step from one to the other leaves no gap: the reader is live from a moment on at which it
        has read at least as far as the feed, and from then on skips what it has. What the feed had
        handed out before a query either is in its answer or was deleted.
        """
        following = self._following[reader.user_id]
        while not reader.is_live:
            handed_out = following.seq
            async with self._replays:
                rows = await self._db.fetch(SQL.changes_after, [reader.user_id], [reader.place], PAGE)
            for row in rows:
                await reader.outbox.put(self._frame(row))
                reader.place = row["seq"]
            if len(rows) < PAGE:
                reader.place = max(reader.place, handed_out)
            reader.is_live = reader.place >= following.seq

    async def run(self) -> None:
        """Hand out changes until cancelled."""
        poll_at_s = time.monotonic() + self._poll_s
        while True:
            heard = await self._bell.wait(0.0 if self._is_behind else max(0.0, poll_at_s - time.monotonic()))
            if time.monotonic() >= poll_at_s:  # also where a bell rings for somebody all the time
                heard |= EVERYONE
                poll_at_s = time.monotonic() + self._poll_s
            try:
                await self.run_once(heard)
            except DatabaseUnavailable as error:
                log.warning("live.read_failed", reason=str(error))

    async def run_once(self, heard: set[str]) -> int:
        """Hand out a page of what is new for the users `heard` of, then for those who wait; return its length.

        Raises DatabaseUnavailable, after which nobody waits; the next poll finds what is new.
        """
        everyone = self._following if heard >= EVERYONE else ()
        first = dict.fromkeys([*self._heard, *heard])
        waiting = dict.fromkeys([*self._unread[:SPARED], *first, *self._unread, *everyone])
        users = [user_id for user_id in waiting if user_id in self._following]
        self._heard, self._unread = [], []
        if not users:
            return 0
        reading, left = users[:PAGE], users[PAGE:]
        places = [self._following[user_id].seq for user_id in reading]
        share = PAGE // len(reading)
        rows = await self._db.fetch(SQL.changes_after, reading, places, share)
        for row in rows:
            self._hand_out(row)
        read = Counter(row["user_id"] for row in rows)
        self._heard = [user_id for user_id in left if user_id in first]
        self._unread = [user_id for user_id in left if user_id not in first]
        self._unread += [user_id for user_id, count in read.items() if count == share]
        return len(rows)

    @property
    def _is_behind(self) -> bool:
        return bool(self._heard or self._unread)

    def _hand_out(self, row: Record) -> None:
        following = self._following.get(row["user_id"])
        if following is None or row["seq"] <= following.seq:
            return
        following.seq = row["seq"]
        frame = self._frame(row)
        for reader in list(following.readers):
            if not reader.is_live or row["seq"] <= reader.place:
                continue
            try:
                reader.outbox.put_nowait(frame)
            except TooSlow:
                self.leave(reader)
            else:
                reader.place = row["seq"]

    def _frame(self, row: Record) -> str:
        url = links.image_url(self._store, row["media_id"], row["store_path"], is_stored=row["is_stored"])
        update = MediaStatusUpdate(
            media_id=row["media_id"],
            status=Status(row["status"]),
            worker=row["worker_name"],
            timestamp=row["logged_at"],
            img_url=url,
            image_url=url,
            address=row["address"],
            seq=row["seq"],
        )
        return msgspec.json.encode(update).decode()
