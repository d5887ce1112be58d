"""Where in its lane's line a claimer begins to look."""

import time
from collections.abc import Callable

MARK_LIFE_S = 1.0
LONGEST_LIFE_S = 10.0
FRONT_SHARE = 0.02  # of a claimer's time may go into looks from the front
MOST_JUMPS = 4  # without a limit tasks came 10 s late in a line of a million that ten claimers of 200 drained in 16


class Mark:
    """The number from which the next claim looks: `seq`, 0 for the front of the line.

    Before it lie dead index entries, which a long transaction elsewhere keeps from being removed, and
    what others are taking at this moment: to pass a task that is locked costs as much as to claim
    one. So who takes many at a time begins as far after the end of its last claim as that began
    after the end of the one before, because so much the others have taken between them.

    Who has jumped too far finds tasks at once and does not learn of it: the jumps never become shorter.
    So after some of them, and when a claim gets less than it asked for, it goes back to where the front was, or
    what is jumped over would grow with the line.

    Lower numbers can still turn up: a transaction that commits late, a rescue. So the mark is dropped once a
    second, and when nothing is left behind it. As many as take between two claims look in between, too: who jumps
    shares the looks with them. Where the look from the front takes long, because of a million
    dead entries, say, that is less often: after up to ten seconds, or claimers would do little else.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seq = 0
        self._front = 0
        self._end = 0  # 0: the next claim begins at the front
        self._jumps = 0
        self._looked_at_s = 0.0
        self._life_s = 0.0

    def drop(self) -> None:
        """Begin at the front."""
        self._front = 0
        self._begin_at(0)

    def drop_if_old(self) -> None:
        """Begin at the front if that was long ago."""
        if self._clock() > self._looked_at_s + self._life_s:
            self.drop()

    def go_back(self) -> bool:
        """Begin where the front was; return whether the last claim began further on."""
        has_jumped = self.seq > self._front
        self._begin_at(self._front)
        return has_jumped

    def move(self, first: int, last: int, *, count: int, took_s: float) -> None:
        """Go on from a claim that got the `count` tasks it asked for, from one number to another, in `took_s`."""
        if not self.seq:
            self._looked_at_s, self._life_s = self._clock(), MARK_LIFE_S
            self._live_at_least(took_s / FRONT_SHARE)
        if not self._end:
            self._front = first
        if self._jumps == MOST_JUMPS:
            self.go_back()
            return
        taken_by_others = first - self._end if self._end and count > 1 else 0
        self._jumps += taken_by_others > 1
        self._live_at_least(MARK_LIFE_S * (1 + taken_by_others // count))
        self.seq, self._end = last + taken_by_others, last

    def _begin_at(self, front: int) -> None:
        self.seq, self._end, self._jumps = front, 0, 0

    def _live_at_least(self, life_s: float) -> None:
        self._life_s = min(max(self._life_s, life_s), LONGEST_LIFE_S)
