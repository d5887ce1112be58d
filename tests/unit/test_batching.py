"""What goes into a commit and when."""

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperion.actors.batching import BatchSize, Bucket, Patience, Step, collapse, cut, halves, is_scarce
from hyperion.errors import StorePaused, StoreUnavailable
from hyperion.media.store import Limits
from hyperion.queue import Lease

LIMITS = Limits(files=100, most_files=250, size_bytes=1000, most_bytes=5000, commits_per_hour=120, burst=8)
PATIENCE = Patience(first_s=2, last_s=300, refused_s=600, longest_s=7200)


def lease(number: int) -> Lease:
    return Lease(
        task_id=number,
        lane="archive",
        kind="archive",
        payload={},
        item=None,
        boot=1,
        epoch=number,
        seq=number,
        attempt=1,
        crashes=0,
    )


def again(step: Step) -> Step:
    """Return a step that has failed once."""
    return dataclasses.replace(step, leases=tuple(msgspec.structs.replace(lease, attempt=2) for lease in step.leases))


def put(number: int, path: str, size_bytes: int = 1) -> Step:
    return Step(path=path, leases=(lease(number),), size_bytes=size_bytes)


def delete(number: int, path: str) -> Step:
    return Step(path=path, leases=(lease(number),), is_delete=True)


@pytest.mark.parametrize("steps", [[put(1, "a"), delete(2, "a")], [delete(1, "a"), put(2, "a")]])
def test_a_photo_that_is_put_and_deleted_is_only_deleted(steps: list[Step]) -> None:
    [step] = collapse(steps)

    assert step.is_delete
    assert [lease.task_id for lease in step.leases] == [1, 2]


def test_a_path_comes_once_however_often_it_was_asked_for() -> None:
    steps = collapse([put(1, "a"), put(2, "b"), put(3, "a"), delete(4, "c"), delete(5, "c")])

    assert [(step.path, step.is_delete) for step in steps] == [("a", False), ("b", False), ("c", True)]
    assert [lease.task_id for lease in steps[0].leases] == [1, 3]


def test_a_photo_that_failed_before_goes_alone_and_last_and_spoils_no_others() -> None:
    spoilt, gone = again(put(1, "a")), again(delete(2, "b"))

    batches = cut([spoilt, gone, put(3, "c")], files=10, size_bytes=10)

    assert [[step.path for step in batch] for batch in batches] == [["b", "c"], ["a"]]


@given(sizes=st.lists(st.integers(0, 50), max_size=40), files=st.integers(1, 10), size_bytes=st.integers(1, 100))
def test_batches_keep_order_and_both_limits(sizes: list[int], files: int, size_bytes: int) -> None:
    steps = [put(number, str(number), size) for number, size in enumerate(sizes)]

    batches = cut(steps, files=files, size_bytes=size_bytes)

    assert [step for batch in batches for step in batch] == steps
    for batch in batches:
        assert 1 <= len(batch) <= files
        assert len(batch) == 1 or sum(step.size_bytes for step in batch) <= size_bytes


@given(st.lists(st.integers(), min_size=2, max_size=30))
def test_halves_are_smaller_and_lose_nothing(batch: list[int]) -> None:
    some, others = halves(batch)

    assert batch in ([*some, *others], [*others, *some])
    assert some
    assert others


@given(st.lists(st.floats(0, 600), max_size=200))
def test_within_an_hour_there_are_never_more_commits_than_granted_and_saved(pauses: list[float]) -> None:
    bucket = Bucket(per_hour=120, burst=8)
    now_s, times = 0.0, []
    for pause_s in pauses:
        now_s += pause_s + bucket.wait_s(now_s=now_s + pause_s)
        bucket.spend(now_s=now_s)
        times.append(now_s)

    for first, begin_s in enumerate(times):
        assert sum(time_s < begin_s + 3600 for time_s in times[first:]) <= 128


def test_the_saved_commits_are_made_at_once_then_one_every_half_minute() -> None:
    bucket = Bucket(per_hour=120, burst=3)

    waits = []
    for _ in range(5):
        waits.append(bucket.wait_s(now_s=0.0))
        bucket.spend(now_s=0.0)

    assert waits == [0, 0, 0, 30, 60]


def test_batches_grow_once_half_of_the_saved_commits_are_spent() -> None:
    bucket, size = Bucket(per_hour=120, burst=8), BatchSize(LIMITS)

    sizes = []
    for _ in range(6):
        sizes.append(size.files(is_scarce=is_scarce(bucket, now_s=0.0)))
        bucket.spend(now_s=0.0)

    assert sizes == [100, 100, 100, 100, 250, 250]


def test_a_thousand_photos_fit_into_the_saved_commits() -> None:
    bucket, size = Bucket(per_hour=120, burst=8), BatchSize(LIMITS)

    left, commits = 1000, 0
    while left > 0:
        assert bucket.wait_s(now_s=0.0) == 0
        left -= size.files(is_scarce=is_scarce(bucket, now_s=0.0))
        bucket.spend(now_s=0.0)
        commits += 1

    assert commits == 7


def test_after_a_batch_that_was_too_large_the_next_are_half_and_grow_again() -> None:
    size = BatchSize(LIMITS)

    size.was_too_large()
    size.was_too_large()
    small = size.files(is_scarce=False)
    for _ in range(10):
        size.went_through()

    assert (small, size.files(is_scarce=False)) == (25, 100)


def test_a_batch_is_never_too_small_for_one_photo() -> None:
    size = BatchSize(LIMITS)

    for _ in range(50):
        size.was_too_large()

    assert size.files(is_scarce=False) == 1


@pytest.mark.parametrize(
    ("error", "failures", "pause_s"),
    [
        (StoreUnavailable("disk"), 1, 2.0),
        (StoreUnavailable("disk"), 4, 16.0),
        (StoreUnavailable("disk"), 99, 300.0),
        (StorePaused("away", "502"), 2, 4.0),
        (StorePaused("away", "409", wait_s=2.0), 1, 2.0),
        (StorePaused("refused", "401"), 1, 600.0),
        (StorePaused("throttled", "429", wait_s=2580.0), 1, 2580.0),
        (StorePaused("throttled", "429"), 1, 60.0),
        (StorePaused("throttled", "429", wait_s=1e6), 1, 7200.0),
    ],
)
def test_a_pause_is_as_long_as_the_store_asks_or_doubles(error: Exception, failures: int, pause_s: float) -> None:
    assert PATIENCE.pause_s(error, failures=failures, chance=0.0) == pause_s
