"""What goes into a commit and when: pure decisions, without a store or a database."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

from hyperion.errors import BatchRefused, StorePaused, StoreUnavailable
from hyperion.media.store import Limits
from hyperion.queue import Lease

T = TypeVar("T")

HOUR_S = 3600.0
THROTTLED_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is to be done about one path, and the tasks that are over when it is done.

    A put has the photo's id and size in bytes. `is_move`: its bytes are in the local store, else
    in the database.
    """

    path: str
    leases: tuple[Lease, ...]
    is_delete: bool = False
    is_move: bool = False
    media_id: UUID | None = None
    size_bytes: int = 0

    @property
    def has_failed(self) -> bool:
        """Whether it was tried by itself before, and failed."""
        return any(lease.attempt > 1 for lease in self.leases)


def step_of(lease: Lease, found: Mapping[UUID, tuple[str, int]]) -> Step | None:
    """Return what a task asks for; None where its photo is gone by now.

    `found` maps the photos that exist to their path in the store and their size in bytes.
    """
    if lease.kind == "erase":
        return Step(path=lease.payload["path"], leases=(lease,), is_delete=True)
    media_id = media_of(lease)
    if media_id is None or media_id not in found:
        return None
    path, size_bytes = found[media_id]
    return Step(path=path, leases=(lease,), is_move=lease.kind == "move", media_id=media_id, size_bytes=size_bytes)


def media_of(lease: Lease) -> UUID | None:
    """Return the photo that a task is about, None for one that erases."""
    return UUID(lease.payload["media_id"]) if lease.kind == "move" else lease.item


def collapse(steps: Iterable[Step]) -> list[Step]:
    """Leave one step for each path, in the order of the first.

    A path is never used again once it was deleted, so a delete wins over every put, whichever was
    asked for first. What was never sent is then not sent at all.
    """
    by_path: dict[str, Step] = {}
    for step in steps:
        other = by_path.get(step.path)
        if other is None:
            by_path[step.path] = step
        else:
            winner = step if step.is_delete and not other.is_delete else other
            by_path[step.path] = replace(winner, leases=other.leases + step.leases)
    return list(by_path.values())


def cut(steps: Sequence[Step], *, files: int, size_bytes: int) -> list[list[Step]]:
    """Cut into batches within both limits; one that is too large by itself goes alone.

    So do, at the end, photos that have failed before: in a batch they would spoil the others again.
    """
    batches: list[list[Step]] = []
    taken_bytes = 0
    alone = []
    for step in steps:
        if step.has_failed and not step.is_delete:
            alone.append([step])
            continue
        if not batches or len(batches[-1]) >= files or taken_bytes + step.size_bytes > size_bytes:
            batches.append([])
            taken_bytes = 0
        batches[-1].append(step)
        taken_bytes += step.size_bytes
    return batches + alone


def halves(batch: Sequence[T]) -> list[Sequence[T]]:
    """Split a batch of two at least in the middle.

    The halves come in any order: else a few spoilt photos at the head of the line were tried before
    all others each time, and looked like a store that takes nothing.
    """
    middle = (len(batch) + 1) // 2
    return random.sample([batch[:middle], batch[middle:]], 2)


def is_stores_fault(error: Exception) -> bool:
    """Tell whether the store or a disk is at fault, and not the photo."""
    return isinstance(error, StoreUnavailable | OSError)


def may_be_stores_fault(step: Step, error: Exception) -> bool:
    """Tell whether a photo that was not taken, like all others, need not be to blame.

    An error that nobody understands is its own only if others were taken when it was first seen.
    """
    return is_stores_fault(error) or not (isinstance(error, BatchRefused) or step.has_failed)


def taking_nothing(error: Exception) -> Exception:
    """Return what to pause for when the store has taken nothing at all."""
    return error if is_stores_fault(error) else StorePaused("away", f"the store takes nothing: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """Return an error as one line for a log or a history."""
    return f"{type(error).__name__}: {error}"


@dataclass
class Bucket:
    """Commits that are granted by the hour, a few of which may be saved up (GCRA).

    `full_at_s` is when all of them are there again; each commit moves it further. Within any hour
    there are at most `per_hour + burst`. Times are monotonic seconds.
    """

    per_hour: int
    burst: int
    full_at_s: float = 0.0

    @property
    def interval_s(self) -> float:
        """In how many seconds one commit is granted."""
        return HOUR_S / self.per_hour

    def saved(self, *, now_s: float) -> float:
        """Return how many commits may be made now, fractions included; below 0: some are owed."""
        return self.burst - max(0.0, self.full_at_s - now_s) / self.interval_s

    def wait_s(self, *, now_s: float) -> float:
        """Return in how many seconds the next commit may be made."""
        return max(0.0, (1.0 - self.saved(now_s=now_s)) * self.interval_s)

    def spend(self, *, now_s: float) -> None:
        """Make a commit."""
        self.full_at_s = max(self.full_at_s, now_s) + self.interval_s


@dataclass
class BatchSize:
    """How much goes into one commit: more while commits are scarce, less after one was too large."""

    limits: Limits
    share: float = 1.0

    def files(self, *, is_scarce: bool) -> int:
        """Return the most files of the next commit."""
        return max(1, int((self.limits.most_files if is_scarce else self.limits.files) * self.share))

    def size_bytes(self, *, is_scarce: bool) -> int:
        """Return the most bytes of the next commit."""
        return max(1, int((self.limits.most_bytes if is_scarce else self.limits.size_bytes) * self.share))

    def was_too_large(self) -> None:
        """Halve what comes next."""
        self.share = max(self.share / 2, 1 / self.limits.most_files)

    def went_through(self) -> None:
        """Go back to full size, a step after each success."""
        self.share = min(1.0, self.share * 1.25)


def is_scarce(bucket: Bucket | None, *, now_s: float) -> bool:
    """Tell whether commits are running out: half of those that may be saved up are spent."""
    return bucket is not None and bucket.saved(now_s=now_s) <= bucket.burst / 2


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to leave a store alone, in seconds. See the settings of the same names."""

    first_s: float
    last_s: float
    refused_s: float
    longest_s: float
    late_s: float = 0.0

    def pause_s(self, error: Exception, *, failures: int, chance: float | None = None) -> float:
        """Return the pause after the `failures`-th failure in a row, counted from 1.

        What the store asks for is granted, if not for ever; else the pause doubles, less up to a
        fifth at random (`chance` in 0..1 instead).
        """
        asked_s = error.wait_s if isinstance(error, StorePaused) else None
        state = error.state if isinstance(error, StorePaused) else "away"
        if state == "refused":
            return self.refused_s
        backoff_s = min(self.last_s, self.first_s * 2.0 ** min(failures - 1, 30))
        jitter = random.random() if chance is None else chance  # noqa: S311
        if asked_s is None:
            asked_s = min(THROTTLED_S, self.last_s) if state == "throttled" else 0.0
        return min(self.longest_s, max(asked_s, backoff_s * (1 - 0.2 * jitter)))
