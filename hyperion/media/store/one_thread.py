"""One thread for a library that blocks and wants to be called from one thread alone."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class OneThread:
    """Runs calls one after the other. The thread is started by the first and ends with the process.

    It is a daemon: a call that hangs does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Return what `call` returns. Cancelled, it leaves the call to itself; the next waits for it.

        A call that is cancelled before it began is never made.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def report(settle: Callable[[Any], None], value: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(lambda: None if future.done() else settle(value))

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = call()
            except Exception as error:  # noqa: BLE001  (it is raised where it is awaited)
                report(future.set_exception, error)
            else:
                report(future.set_result, result)

        self._calls.put(work)
        return await future

    def _work(self) -> None:
        while True:
            self._calls.get()()
