"""Histograms as rows keep them: counts between fixed bounds. Other bounds need a migration of the rows."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

# The bounds that OpenTelemetry recommends for `http.server.request.duration`.
REQUEST_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TASK_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0)


def bucket(bounds: Sequence[float], value: float) -> int:
    """Return the place of the least bound that is not below `value`; one beyond the last, if there is none."""
    return bisect_left(bounds, value)


def counts(bounds: Sequence[float], value: float, times: int) -> list[int]:
    """Return the counts of a histogram that has seen `value` so many times, and nothing else."""
    found = [0] * (len(bounds) + 1)
    found[bucket(bounds, value)] = times
    return found


def cumulative(bounds: Sequence[float], found: Sequence[int]) -> list[tuple[str, float]]:
    """Return (upper bound, how many were not above it), as Prometheus wants them."""
    return list(zip([*map(str, bounds), "+Inf"], accumulate(found), strict=True))
