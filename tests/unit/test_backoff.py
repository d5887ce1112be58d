"""Waits that grow and are never in step."""

from itertools import pairwise

from hyperion.db.backoff import Backoff


def test_waits_double_up_to_the_last_less_up_to_half() -> None:
    backoff = Backoff(first_s=1, last_s=5)

    waits_s = [backoff.next_s() for _ in range(5)]

    assert all(full_s / 2 <= wait_s <= full_s for wait_s, full_s in zip(waits_s, (1, 2, 4, 5, 5), strict=True))


def test_two_who_began_together_do_not_wait_together() -> None:
    waits_s = sorted(Backoff().next_s() for _ in range(100))

    assert all(one_s < other_s for one_s, other_s in pairwise(waits_s))


def test_after_an_answer_the_waits_begin_again() -> None:
    backoff = Backoff(first_s=1, last_s=64)
    for _ in range(5):
        backoff.next_s()

    backoff.reset()

    assert backoff.next_s() <= 1
