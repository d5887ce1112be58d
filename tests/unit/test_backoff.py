"""Waits that grow and are never in step."""

import random

import pytest

from hyperion.db.backoff import Backoff


def test_waits_double_up_to_the_last_less_up_to_half() -> None:
    backoff = Backoff(first_s=1, last_s=5)

    waits_s = [backoff.next_s() for _ in range(5)]

    assert all(full_s / 2 <= wait_s <= full_s for wait_s, full_s in zip(waits_s, (1, 2, 4, 5, 5), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_a_crowd_that_lost_the_database_together_knocks_evenly_spread(seed: int) -> None:
    """Given the chances: in no twentieth of the time over which they are spread knocks more than twice its share."""
    random.seed(seed)
    crowd = [Backoff(first_s=1, last_s=8) for _ in range(1000)]

    for full_s in (1, 2, 4, 8, 8):
        twentieths = [int((backoff.next_s() / full_s - 0.5) * 40) for backoff in crowd]

        assert set(twentieths) == set(range(20))
        assert max(map(twentieths.count, range(20))) <= 100


def test_no_two_of_a_crowd_stay_in_step() -> None:
    """The whole way of each, as the instants of its knocks."""
    random.seed(1)
    ways = {tuple(backoff.next_s() for _ in range(3)) for backoff in [Backoff() for _ in range(100)]}

    assert len(ways) == 100


def test_after_an_answer_the_waits_begin_again() -> None:
    backoff = Backoff(first_s=1, last_s=64)
    for _ in range(5):
        backoff.next_s()

    backoff.reset()

    assert backoff.next_s() <= 1
