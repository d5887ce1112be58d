"""Measure when the machine is one's own.

A virtual machine's processors are lent: the hypervisor takes them away for milliseconds or for a third of a minute,
and whatever is timed meanwhile says nothing about what ran. Linux counts that time as stolen.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

import psutil

T = TypeVar("T")

CALM = 0.02
MOST_TRIES = 5


class Calm(Generic[T]):
    """Lets a measurement be made until at most CALM of the processors' time was stolen meanwhile, at most `most` times.

    Use it as `for _ in calm: calm.take(measure())`; then `calm.best` is what was measured when least was
    stolen, and `calm.stolen` that share, in 0..1. On a machine of one's own the first try is the best.
    """

    def __init__(self, most: int = MOST_TRIES) -> None:
        self._most = most
        self._taken: list[tuple[float, T]] = []
        self._before = _ticks()

    def __iter__(self) -> Iterator[None]:
        while len(self._taken) < self._most and (not self._taken or self.stolen > CALM):
            self._before = _ticks()
            yield

    def take(self, measured: T) -> None:
        """Take in what was measured since the last step of the loop."""
        stolen, every = (now - before for now, before in zip(_ticks(), self._before, strict=True))
        self._taken.append((stolen / every if every else 0.0, measured))

    @property
    def best(self) -> T:
        """What was measured in the calmest try."""
        return self._calmest()[1]

    @property
    def stolen(self) -> float:
        """The share of the processors' time that was stolen in that try."""
        return self._calmest()[0]

    def _calmest(self) -> tuple[float, T]:
        return min(self._taken, key=lambda taken: taken[0])


def _ticks() -> tuple[float, float]:
    """Return the seconds stolen, and all seconds of all processors, since the machine began."""
    times = psutil.cpu_times()
    counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return getattr(times, "steal", 0.0), sum(times) - counted_twice
