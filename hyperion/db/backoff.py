"""How long to wait before the database is asked again: longer each time, and never in step with others."""

import random


class Backoff:
    """Waits of `first_s` seconds doubling to `last_s`, each less up to half at random.

    A node is a dozen processes with several loops each. Without this they knock all at once, again
    and again, at a Postgres that is busy starting.
    """

    def __init__(self, *, first_s: float = 0.1, last_s: float = 5.0) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._full_s = first_s

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        full_s = min(self._full_s, self._last_s)
        self._full_s = full_s * 2
        return full_s * random.uniform(0.5, 1)  # noqa: S311  (jitter)

    def reset(self) -> None:
        """Begin again with the first wait: the database has answered."""
        self._full_s = self._first_s
