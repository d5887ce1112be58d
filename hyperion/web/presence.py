"""Which sessions are there: noted in memory at every request, for the flusher to write down."""

import time
from collections import Counter
from dataclasses import dataclass

TOUCH_S = 30.0
MOST_SESSIONS = 20_000


@dataclass(frozen=True)
class Seen:
    """A session that was seen, for the first and the last time since it was last written down."""

    session_id: str
    user_id: str
    first_s: float
    last_s: float


@dataclass(slots=True)
class _Sight:
    user_id: str
    first_s: float | None
    last_s: float
    taken_s: float | None = None


class Presence:
    """Remembers sessions that were seen, and hands each over at most every TOUCH_S seconds.

    All times are of the monotonic clock. It is bounded: beyond MOST_SESSIONS the oldest is forgotten.
    """

    def __init__(self) -> None:
        self._sights: dict[str, _Sight] = {}
        self._ended: dict[str, float] = {}
        self._connected: Counter[tuple[str, str]] = Counter()

    def saw(self, session_id: str, user_id: str) -> None:
        """Note that the session has just been used."""
        now_s = time.monotonic()
        sight = self._sights.get(session_id)
        if sight is None:
            _make_room(self._sights)
            self._sights[session_id] = _Sight(user_id, now_s, now_s)
            return
        if sight.first_s is None:
            sight.first_s = now_s
        sight.last_s = now_s

    def ended(self, session_id: str) -> None:
        """Note that the session is over."""
        _make_room(self._ended)
        self._ended[session_id] = time.monotonic()

    def connect(self, session_id: str, user_id: str) -> None:
        """Hold the session to be seen for as long as it has a socket open."""
        self._connected[session_id, user_id] += 1

    def disconnect(self, session_id: str, user_id: str) -> None:
        """Take one `connect` back."""
        self._connected[session_id, user_id] -= 1
        if not self._connected[session_id, user_id]:
            del self._connected[session_id, user_id]

    def take(self, now_s: float) -> tuple[list[Seen], dict[str, float]]:
        """Hand over who is due to be written down, and the sessions that ended with the times."""
        for session_id, user_id in self._connected:
            self.saw(session_id, user_id)
        due = []
        for session_id, sight in list(self._sights.items()):
            if sight.taken_s is not None and now_s - sight.taken_s < TOUCH_S:
                continue
            if sight.first_s is None:
                del self._sights[session_id]
                continue
            due.append(Seen(session_id, sight.user_id, sight.first_s, sight.last_s))
            sight.first_s, sight.taken_s = None, now_s
        ended, self._ended = self._ended, {}
        return due, ended


def _make_room(kept: dict[str, _Sight] | dict[str, float]) -> None:
    if len(kept) >= MOST_SESSIONS:
        del kept[next(iter(kept))]
