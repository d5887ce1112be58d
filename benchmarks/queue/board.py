"""A shared file on which workers of any language count what they do, so that all are timed alike."""

import mmap
import time
from pathlib import Path

SLOTS = 64
_WORDS = 4  # ready, done, first start, last start
_WORD_BYTES = 8
_READY, _DONE, _FIRST, _LAST = range(_WORDS)


class Board:
    """The whole board, as the measuring process sees it. Instants are of the machine's monotonic clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(SLOTS * _WORDS * _WORD_BYTES))
        self._map, self._words = _open(path)

    def close(self) -> None:
        """Let go of the file."""
        self._words.release()
        self._map.close()

    @property
    def ready(self) -> int:
        """How many workers wait for the word to go."""
        return sum(self._words[_READY::_WORDS])

    @property
    def done(self) -> int:
        """How many tasks are done."""
        return sum(self._words[_DONE::_WORDS])

    @property
    def first_started_ns(self) -> int:
        """When the first handler since the last `forget_starts` began; 0 where none has."""
        return min(filter(None, self._words[_FIRST::_WORDS]), default=0)

    @property
    def last_started_ns(self) -> int:
        """When the newest handler began."""
        return max(self._words[_LAST::_WORDS])

    def forget_starts(self) -> None:
        """Begin a new measurement. Only while nobody works."""
        for slot in range(SLOTS):
            self._words[slot * _WORDS + _FIRST] = 0


class Slot:
    """One worker's own words on the board; nobody else writes them."""

    def __init__(self, path: Path, number: int) -> None:
        if not 0 <= number < SLOTS:
            raise ValueError(f"there is no slot {number}")
        self._map, self._words = _open(path)
        self._base = number * _WORDS

    def ready(self) -> None:
        """Say that this worker is connected and waits."""
        self._words[self._base + _READY] = 1

    def started(self) -> None:
        """Say that a handler starts."""
        now = time.monotonic_ns()
        self._words[self._base + _LAST] = now
        if not self._words[self._base + _FIRST]:
            self._words[self._base + _FIRST] = now

    def done(self, count: int = 1) -> None:
        """Say that so many more tasks are done."""
        self._words[self._base + _DONE] += count


def _open(path: Path) -> tuple[mmap.mmap, "memoryview[int]"]:
    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)
    return shared, memoryview(shared).cast("q")  # one aligned word is written at once
