"""One reading for all who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


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
            self._next = asyncio.create_task(self._read_next())
        return await asyncio.shield(self._next)  # who goes away takes it from nobody

    async def _read_next(self) -> T:
        async with self._turn:
            self._next = None  # who asks from here on is too late for this one
            return await self._read()
