"""Wait for a condition instead of a while."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def until(condition: Callable[[], Awaitable[Any] | Any], *, within_s: float = 20.0, every_s: float = 0.02) -> Any:
    """Return what `condition` gives as soon as it is true; fail the test after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            source = inspect.getsource(condition).strip() if condition.__name__ == "<lambda>" else condition.__name__
            raise AssertionError(f"not within {within_s} s: {source} (last: {value!r})")
        await asyncio.sleep(every_s)
