"""Answers of the map's statistics, kept for a minute and at most so many."""

from collections.abc import Hashable
from typing import TypeAlias

from cachetools import TTLCache

LIFE_S = 60.0
ROOM = 1024

StatsCache: TypeAlias = TTLCache[Hashable, bytes]


def make_stats_cache() -> StatsCache:
    """Return an empty cache; what is used least goes first when it is full."""
    return TTLCache(maxsize=ROOM, ttl=LIFE_S)
