"""Where in its lane's line a claimer begins to look."""

import time

MARK_LIFE_S = 1.0


class Mark:
    """The number from which the next claim looks: `seq`, 0 for the front of the line.

    Before it lie dead index entries, which a long transaction elsewhere keeps from being removed, and
    what others are taking at this moment: to pass a task that is locked costs as much as to claim
    one. So who takes many at a time begins as far after the end of its last claim as that began
    after the end of the one before, because so much the others have taken between them.

    Lower numbers can still turn up: what was jumped over and nobody took, a transaction that commits
    late, a rescue. So the mark is dropped once a second, and whenever a claim gets less than it asked for.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._end = 0
        self._set_at_s = 0.0

    def drop(self) -> None:
        """Begin at the front."""
        self.seq = self._end = 0

    def drop_if_old(self) -> None:
        """Begin at the front if that was a second ago."""
        if time.monotonic() - self._set_at_s > MARK_LIFE_S:
            self.drop()

    def move(self, first: int, last: int, *, many: bool) -> None:
        """Go on from a claim that got all that it asked for, from one number to another; `many`: not just one."""
        if not self.seq:
            self._set_at_s = time.monotonic()
        taken_by_others = first - self._end if self._end and many else 0
        self.seq, self._end = last + taken_by_others, last
