"""From where a claimer looks: how far it goes on, how soon it comes back to the front."""

import pytest

from hyperion.queue.mark import MOST_JUMPS, Mark


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mark(clock: Clock) -> Mark:
    return Mark(clock)


def move_on(mark: Mark, *, claims: int) -> None:
    """Go on from claims of ten, one right after the other."""
    for _ in range(claims):
        mark.move(mark.seq + 1, mark.seq + 10, count=10, took_s=0)


def is_kept_at(now_s: float, mark: Mark, clock: Clock) -> bool:
    clock.now_s = now_s
    mark.drop_if_old()
    return mark.seq > 0


@pytest.mark.parametrize(("took_s", "life_s"), [(0.0, 1.0), (0.02, 1.0), (0.1, 5.0), (60.0, 10.0)])
def test_a_mark_is_dropped_after_a_second_or_fifty_times_what_the_look_from_the_front_took(
    mark: Mark, clock: Clock, took_s: float, life_s: float
) -> None:
    mark.move(1, 10, count=10, took_s=took_s)

    assert is_kept_at(life_s - 0.01, mark, clock)
    assert not is_kept_at(life_s + 0.01, mark, clock)


def test_a_line_that_is_always_full_does_not_keep_a_mark_alive(mark: Mark, clock: Clock) -> None:
    move_on(mark, claims=1)
    clock.now_s = 0.9
    move_on(mark, claims=100)

    assert not is_kept_at(1.1, mark, clock)


@pytest.mark.parametrize(("taken_by_others", "life_s"), [(0, 1.0), (30, 4.0), (1000, 10.0)])
def test_who_jumps_shares_the_looks_from_the_front_with_those_who_take_between(
    mark: Mark, clock: Clock, taken_by_others: int, life_s: float
) -> None:
    mark.move(1, 10, count=10, took_s=0)
    mark.move(11 + taken_by_others, 20 + taken_by_others, count=10, took_s=0)

    assert is_kept_at(life_s - 0.01, mark, clock)
    assert not is_kept_at(life_s + 0.01, mark, clock)


def test_who_falls_short_goes_back_to_where_the_front_was(mark: Mark) -> None:
    mark.move(5, 10, count=10, took_s=0)
    mark.move(20, 30, count=10, took_s=0)

    assert mark.go_back()
    assert mark.seq == 5


def test_who_is_where_the_front_was_has_nowhere_to_go_back_to(mark: Mark) -> None:
    mark.move(5, 10, count=10, took_s=0)
    mark.go_back()

    assert not mark.go_back()


def test_after_a_few_jumps_it_goes_back_by_itself(mark: Mark) -> None:
    mark.move(5, 10, count=10, took_s=0)
    for _ in range(MOST_JUMPS):
        mark.move(mark.seq + 10, mark.seq + 20, count=10, took_s=0)
        assert mark.seq > 10

    mark.move(mark.seq + 10, mark.seq + 20, count=10, took_s=0)

    assert mark.seq == 5


def test_who_dropped_its_mark_has_forgotten_where_the_front_was(mark: Mark) -> None:
    mark.move(5, 10, count=10, took_s=0)

    mark.drop()

    assert not mark.go_back()
    assert mark.seq == 0
