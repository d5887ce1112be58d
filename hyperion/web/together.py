"""One reading for all who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)


class Together(Generic[T]):
    """Answers all who ask while a reading is under way by the next one, which begins when that ends.

    So one reading runs at a time, however many ask, and yet nobody gets what was read before they asked.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def ask(self) -> T:
        """Return what is read from now on. Raises what reading it raises."""
        if self._next is None:
            self._next = _task(self._read_next())
        return await asyncio.shield(self._next)  # who goes away takes it from nobody

    async def _read_next(self) -> T:
        async with self._turn:
            self._next = None  # who asks from here on is too late for this one
            return await self._read()


class Lookup(Generic[Key, T]):
    """Looks up with one reading what is asked for in one turn of the event loop.

    It begins after everybody has asked and waits for nobody.
    """

    def __init__(self, read: Callable[[Collection[Key]], Awaitable[Mapping[Key, T]]]) -> None:
        self._read = read
        self._asked: set[Key] = set()
        self._next: asyncio.Task[Mapping[Key, T]] | None = None

    async def ask(self, key: Key) -> T | None:
        """Return what is found under the key from now on, or None. Raises what the reading raises."""
        self._asked.add(key)
        if self._next is None:
            self._next = _task(self._read_next())
        found = await asyncio.shield(self._next)  # who goes away takes it from nobody
        return found.get(key)

    async def _read_next(self) -> Mapping[Key, T]:
        asked, self._asked, self._next = self._asked, set(), None
        return await self._read(asked)


def _task(reading: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a reading whose error is no news to the loop if all who asked have gone away."""
    task = asyncio.create_task(reading)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
