"""One thread for a library that blocks."""

import asyncio
import threading

import pytest

from hyperion.media.store.one_thread import OneThread


async def test_a_call_that_is_cancelled_while_another_is_under_way_is_never_made() -> None:
    thread, may_end = OneThread("test"), threading.Event()
    made: list[str] = []
    first = asyncio.create_task(thread.run(may_end.wait))
    second = asyncio.create_task(thread.run(lambda: made.append("second")))
    await asyncio.sleep(0)

    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    may_end.set()
    await first
    await thread.run(lambda: made.append("third"))

    assert made == ["third"]
