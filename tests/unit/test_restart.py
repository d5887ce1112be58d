"""When a dead child may start again."""

import pytest

from hyperion.actors.node import OBSERVE_S, Node
from hyperion.actors.restart import RestartBudget, RestartPolicy, backoff_s, is_silent
from hyperion.db import Database
from hyperion.queue import Wakeup
from hyperion.settings import Settings


def test_a_sixth_crash_inside_the_window_parks_the_child() -> None:
    budget = RestartBudget(limit=5, window_s=60)

    allowed = [budget.spend(now_s=t) for t in (0, 1, 3, 7, 15, 31)]

    assert allowed == [True] * 5 + [False]


def test_what_was_spent_comes_back_when_the_window_has_passed() -> None:
    budget = RestartBudget(limit=1, window_s=60)

    allowed = [budget.spend(now_s=t) for t in (0, 59.9, 60)]

    assert allowed == [True, False, True]


@pytest.mark.parametrize(("streak", "wait_s"), [(1, 0.1), (2, 0.2), (3, 0.4), (9, 25.6), (10, 30), (10_000, 30)])
def test_the_wait_doubles_up_to_half_a_minute(streak: int, wait_s: float) -> None:
    assert backoff_s(streak, chance=0) == pytest.approx(wait_s)


def test_jitter_takes_off_a_fifth_at_most() -> None:
    assert backoff_s(1, chance=1) == pytest.approx(0.08)


def test_a_child_that_lived_a_minute_starts_at_once() -> None:
    policy = RestartPolicy(park_s=60)
    policy.after_death(life_s=1, now_s=0, counts=True, chance=0)

    verdict = policy.after_death(life_s=60, now_s=70, counts=True, chance=0)

    assert (verdict.delay_s, verdict.is_parked) == (0, False)


def test_a_parked_child_waits_long() -> None:
    policy = RestartPolicy(park_s=60)

    verdicts = [policy.after_death(life_s=0, now_s=t, counts=True, chance=0) for t in range(6)]

    assert [verdict.is_parked for verdict in verdicts] == [False] * 5 + [True]
    assert verdicts[-1].delay_s == 60


def test_deaths_that_do_not_count_never_park() -> None:
    policy = RestartPolicy(park_s=60)

    verdicts = [policy.after_death(life_s=0, now_s=t, counts=False, chance=0) for t in range(50)]

    assert not any(verdict.is_parked for verdict in verdicts)


@pytest.mark.parametrize(
    ("silent_s", "answering_s", "silent"),
    [(16, 100, True), (14, 100, False), (16, 10, False), (40, 0, False)],
    ids=["hung", "alive", "the database was away", "the database is away"],
)
def test_silence_counts_only_while_the_database_answers(silent_s: float, answering_s: float, silent: bool) -> None:
    assert is_silent(silent_s=silent_s, answering_s=answering_s, limit_s=15) is silent


def test_a_database_whose_answers_are_slow_answers_without_a_break_and_one_that_is_not_asked_does_not() -> None:
    db = Database("postgresql://", name="test")
    node = Node(Settings(database_url="postgresql://", secret_key="k" * 32), db, Wakeup(db))
    began_s = node._answering_since_s

    late_s = OBSERVE_S + 1.5
    since_s = []
    for answered_s in (late_s, 2 * late_s, 3 * late_s, 60.0):
        node._answered(began_s + answered_s, again=False)
        since_s.append(round(node._answering_since_s - began_s, 3))

    assert since_s == [0, 0, 0, 60]
