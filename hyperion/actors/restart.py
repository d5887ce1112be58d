"""When a child that died may start again: pure decisions on a monotonic clock."""

from collections import deque
from dataclasses import dataclass, field

HEALTHY_LIFE_S = 60.0
FIRST_DELAY_S = 0.1
LAST_DELAY_S = 30.0
RESTARTS = 5
WINDOW_S = 60.0


@dataclass
class RestartBudget:
    """At most `limit` restarts within any `window_s` seconds (Erlang's restart intensity)."""

    limit: int
    window_s: float
    _spent_at_s: deque[float] = field(default_factory=deque)

    def spend(self, *, now_s: float) -> bool:
        """Take one restart; False where the budget is used up, and nothing is taken."""
        while self._spent_at_s and now_s - self._spent_at_s[0] >= self.window_s:
            self._spent_at_s.popleft()
        if len(self._spent_at_s) >= self.limit:
            return False
        self._spent_at_s.append(now_s)
        return True


def backoff_s(streak: int, *, chance: float) -> float:
    """Return the wait before the `streak`-th restart in a row (from 1): 0.1 s doubling to 30 s.

    `chance` in 0..1 takes off up to a fifth, so that children do not restart in step.
    """
    return min(LAST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(streak - 1, 16)) * (1 - 0.2 * chance)


@dataclass(frozen=True)
class Verdict:
    """What to do with a dead child: start it after `delay_s`; `is_parked`: only after the long wait."""

    delay_s: float
    is_parked: bool = False


@dataclass
class RestartPolicy:
    """One child's record. `park_s` is how long a parked child waits before it is tried again."""

    park_s: float
    streak: int = 0
    budget: RestartBudget = field(default_factory=lambda: RestartBudget(limit=RESTARTS, window_s=WINDOW_S))

    def after_death(self, *, life_s: float, now_s: float, counts: bool, chance: float) -> Verdict:
        """Decide on a child that lived `life_s`. Deaths that the database caused do not count."""
        if life_s >= HEALTHY_LIFE_S:
            self.streak = 0
            delay_s = 0.0
        else:
            self.streak += 1
            delay_s = backoff_s(self.streak, chance=chance)
        if counts and not self.budget.spend(now_s=now_s):
            return Verdict(self.park_s, is_parked=True)
        return Verdict(delay_s)


def is_silent(*, silent_s: float, answering_s: float, limit_s: float) -> bool:
    """Tell whether an actor is hung: no beat for `limit_s`, all of which the database was there.

    `answering_s` is for how long the database has answered without a break.
    """
    return silent_s > limit_s and answering_s > limit_s
