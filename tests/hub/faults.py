"""What can go wrong at a Hub, on order or at random."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

# Which requests a fault is for.
Where = Literal[
    "info", "preupload", "lfs_batch", "lfs_put", "xet_token", "xorb", "shard", "commit", "paths_info", "resolve"
]

CUT, RIGHT = 0, -1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One answer that goes wrong.

    `takes_place`: what was asked for is done all the same. `status`: what is answered instead; CUT:
    the line is cut without an answer, RIGHT: the right answer comes. The deed waits until it
    `may_take_place`; `delay_s` passes between it and the answer.
    """

    status: int = CUT
    body: str = '{"error": "ordered by the test"}'
    headers: dict[str, str] = field(default_factory=dict)
    takes_place: bool = False
    delay_s: float = 0.0
    may_take_place: Callable[[], bool] = lambda: True


LOST_BEFORE = Fault()
LOST_AFTER = Fault(takes_place=True)
BROKEN_BEFORE = Fault(status=502, body="<html>Bad gateway</html>")
BROKEN_AFTER = Fault(status=504, body="<html>Gateway time-out</html>", takes_place=True)
RETRY_AFTER = Fault(status=429, headers={"Retry-After": "2"})
RATE_LIMIT = Fault(
    status=429, headers={"RateLimit": '"api";r=0;t=2', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
)
IN_WORDS = Fault(status=429, body='{"error": "You have been rate-limited. You can retry this action in 2 seconds."}')
NOT_THE_HUB = Fault(status=200, body="<html>Welcome to the hotel</html>", headers={"Content-Type": "text/html"})


GARBAGE = tuple(
    Fault(status=200, body=body) for body in ("{}", "[]", "null", '{"files": [{"path": 1}]}', '{"id": "ada/ph')
)


def redirect(url: str) -> Fault:
    """Return a fault that sends the client elsewhere."""
    return Fault(status=302, headers={"Location": url}, body="")


def slow(delay_s: float) -> Fault:
    """Return a fault that does what it is asked for and answers late."""
    return Fault(takes_place=True, delay_s=delay_s, status=RIGHT)


def held_until(may_take_place: Callable[[], bool]) -> Fault:
    """Return a fault that does what it is asked for, and answers, once it may."""
    return Fault(takes_place=True, status=RIGHT, may_take_place=may_take_place)


class Faults:
    """Faults in the order in which they were ordered, for each kind of request; then random ones."""

    def __init__(self) -> None:
        self._ordered: defaultdict[Where, list[Fault]] = defaultdict(list)
        self._chance: random.Random | None = None
        self._rate = 0.0
        self._kinds: tuple[Fault, ...] = ()
        self._burst = 0

    def order(self, where: Where, *faults: Fault) -> None:
        """Let the next requests of that kind go wrong, one fault each."""
        self._ordered[where] += faults

    def rage(self, seed: int, *, rate: float, kinds: tuple[Fault, ...]) -> None:
        """Let requests go wrong at random from now on, a share of `rate`; 429 come in bursts of five."""
        self._chance, self._rate, self._kinds = random.Random(seed), rate, kinds

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self._ordered.clear()
        self._chance = None

    def next(self, where: Where) -> Fault | None:
        """Return the fault that this request meets, if any."""
        if self._ordered[where]:
            return self._ordered[where].pop(0)
        if self._chance is None or where == "resolve":
            return None
        if self._burst:
            self._burst -= 1
            return Fault(status=429, headers={"Retry-After": "1"})
        if self._chance.random() >= self._rate:
            return None
        kind = self._chance.choice(self._kinds)
        if kind.status == 429:
            self._burst = 4
        return kind
