"""What goes wrong and when: a list that follows from the seed alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

# Each kind of fault: how often it comes, relative to the others, and how long it holds, in seconds.
KINDS: dict[str, tuple[int, tuple[float, float]]] = {
    "kill_actor": (6, (0, 0)),
    "stop_actor": (4, (0.2, 8)),
    "kill_fork_server": (1, (0, 0)),
    "storm": (3, (0, 1.5)),
    "restart_fast": (1, (0, 2)),
    "restart_immediate": (1, (0, 2)),
    "cut": (3, (0, 0)),
    "refuse": (2, (0.2, 4)),
    "delay": (2, (0.5, 4)),
    "freeze": (2, (0.5, 8)),
    "strand": (1, (3, 10)),
    "fill": (2, (0.5, 3)),
    "stop_supervisor": (1, (0, 1.5)),
    "kill_supervisor": (1, (0, 1.5)),
}
PAUSE_S = (0.2, 2.5)


@dataclass(frozen=True)
class Step:
    """One fault: `at_s` after the beginning, for `hold_s`.

    `victim` 0..1 chooses among the actors of that moment, in the order of their names; `flag` decides
    what a kind leaves open.
    """

    at_s: float
    kind: str
    hold_s: float
    victim: float
    flag: bool


def make_schedule(seed: int, *, duration_s: float, first: Sequence[str] = (), kinds: Sequence[str] = ()) -> list[Step]:
    """Plan the faults of a run: those of `first` in random order, then any of `kinds` (none: all)."""
    chance = random.Random(seed)
    pool = list(kinds or KINDS)
    forced = chance.sample(list(first), len(first))
    weights = [KINDS[kind][0] for kind in pool]
    steps: list[Step] = []
    at_s = chance.uniform(*PAUSE_S)
    while at_s < duration_s:
        # Everything is drawn for every step, so that no fault's needs shift those after it.
        kind = chance.choices(pool, weights)[0]
        kind = forced.pop() if forced else kind
        share, victim, flag = chance.random(), chance.random(), chance.random() < 0.5
        low_s, high_s = KINDS[kind][1]
        hold_s = low_s + share * (high_s - low_s)
        steps.append(Step(round(at_s, 3), kind, round(hold_s, 3), victim, flag))
        at_s += chance.uniform(*PAUSE_S)
    return steps
