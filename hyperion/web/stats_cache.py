"""Answers of the map's statistics, kept for a minute and in so much memory."""

from collections.abc import Hashable
from typing import TypeAlias

from cachetools import TTLCache

LIFE_S = 60.0
ROOM_BYTES = 32 << 20
LARGEST_BYTES = 8 << 20  # some 80,000 cells
OVERHEAD_BYTES = 500  # of a question and its place in the cache

StatsCache: TypeAlias = TTLCache[Hashable, bytes]


def make_stats_cache() -> StatsCache:
    """Return an empty cache; what is used least goes first when there is no room.

    Bounded by size and not by number: an answer has a cell for every photo if the cells are small enough.
    """
    return TTLCache(ROOM_BYTES, ttl=LIFE_S, getsizeof=lambda body: len(body) + OVERHEAD_BYTES)
