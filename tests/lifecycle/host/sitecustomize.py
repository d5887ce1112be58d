"""What a tree under test finds on a bad host: a clock that is wrong, and a way to block an event loop.

Python imports this by itself where the folder is on PYTHONPATH. Nothing of the program under test is
changed: only what it asks of the host.
"""

import ctypes
import datetime
import gc
import os
import signal
import time
from pathlib import Path
from typing import Any


def block_the_loop(*_: object) -> None:
    """Do what a handler does that computes instead of awaiting."""
    time.sleep(60)


def set_clock_by(path: Path) -> None:
    """Let every clock that can be set be ahead by the seconds in a file, which may change at any time."""

    def ahead_s() -> float:
        return float(path.read_text(encoding="ascii"))

    right_time, right_time_ns, right_now = time.time, time.time_ns, datetime.datetime.now
    time.time = lambda: right_time() + ahead_s()
    time.time_ns = lambda: right_time_ns() + int(ahead_s() * 1e9)

    def now(_: type, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return right_now(tz) + datetime.timedelta(seconds=ahead_s())

    # In place: with another class instead of it, who compares types would see that.
    attributes: Any = gc.get_referents(datetime.datetime.__dict__)[0]
    attributes["now"] = classmethod(now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))


signal.signal(signal.SIGUSR1, block_the_loop)
if "HOST_CLOCK" in os.environ:
    set_clock_by(Path(os.environ["HOST_CLOCK"]))
