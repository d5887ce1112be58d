"""Every error that Hyperion raises on purpose, drawn as one tree.

HyperionError
├── BadConfiguration      settings that cannot be used; carries every fault
├── DatabaseUnavailable   Postgres is away, refuses or does not answer in time
│   └── CommitUncertain   the connection was lost while a commit was under way
├── NodeTaken             another supervisor already runs under this node's name
├── LifeOver              a later life of the same actor has begun; this process must end
├── LeaseLost             a task is in other hands by now; what was computed is void
├── PhotoGone             the photo was deleted while somebody worked on it
├── DetectionGone         a photo has no detection of that number (any more)
├── StatusConflict        a photo is in a state from which that step is not legal
├── QuotaExceeded         a user keeps as many photos, or bytes of them, as one may
├── PhotoUnusable         the bytes are no photo that can be kept; trying again is useless
├── PhotoTooSlow          reading it, or looking at it, takes more time than there is for that
├── PhotoMissing          the store has no photo under that path
├── BatchRefused          the store does not take these changes as one; parts of them it may
└── StoreUnavailable      the store cannot be reached now; trying again later may work
    └── StorePaused       the store wants to be left alone for a while
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

EXIT_BAD_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


class HyperionError(Exception):
    """The root: whoever catches it catches all that Hyperion raises on purpose."""


class BadConfiguration(HyperionError):
    """Settings cannot be used. `faults` names every one of them, a sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class DatabaseUnavailable(HyperionError):
    """Postgres is away, refuses, or does not answer in time. Trying again later may work."""


class CommitUncertain(DatabaseUnavailable):
    """The connection was lost during a commit: it may have taken place or not."""


class NodeTaken(HyperionError):
    """Another supervisor holds the name of this node in the same database."""

    def __init__(self, node: str) -> None:
        super().__init__(f"another supervisor already runs as node {node!r}; set HYPERION_NODE to another name")
        self.node = node


class LifeOver(HyperionError):
    """The process with boot id `boot` has been replaced and may do nothing more."""

    def __init__(self, boot: int) -> None:
        super().__init__(f"boot {boot} has been replaced")
        self.boot = boot


class LeaseLost(HyperionError):
    """The lease of `task_id` is in other hands or gone; nothing may be written for it."""

    def __init__(self, task_id: int) -> None:
        super().__init__(f"the lease of task {task_id} is lost")
        self.task_id = task_id


class PhotoGone(HyperionError):
    """The photo `media_id` does not exist (any more)."""

    def __init__(self, media_id: UUID) -> None:
        super().__init__(f"photo {media_id} does not exist")
        self.media_id = media_id


class DetectionGone(HyperionError):
    """Photo `media_id` has no detection `detection_id` (any more): corrected elsewhere, or analysed again."""

    def __init__(self, media_id: UUID, detection_id: int) -> None:
        super().__init__(f"photo {media_id} has no detection {detection_id}")
        self.media_id = media_id
        self.detection_id = detection_id


class StatusConflict(HyperionError):
    """Photo `media_id` is in state `now`, from which it cannot go to `wanted`."""

    def __init__(self, media_id: UUID, now: str, wanted: str) -> None:
        super().__init__(f"photo {media_id} is {now} and cannot become {wanted}")
        self.media_id = media_id
        self.now = now
        self.wanted = wanted


class QuotaExceeded(HyperionError):
    """One more photo would take a user over `limit`, which says how much of what may be kept."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"You may keep at most {limit}.")
        self.limit = limit


class PhotoUnusable(HyperionError):
    """The bytes are no photo that can be kept. `code` is stable and for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class PhotoTooSlow(HyperionError):
    """Reading a photo or looking at it took longer than `limit_s` seconds, and goes on."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"took longer than {limit_s:g} s to read")
        self.limit_s = limit_s


class PhotoMissing(HyperionError):
    """The store can be reached and has nothing under `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the store has no photo {path!r}")
        self.path = path


class StoreUnavailable(HyperionError):
    """The photo store cannot be reached or written now."""


class StorePaused(StoreUnavailable):
    """The store throttles, refuses or is away, whatever it is given.

    `wait_s` is what it asked for, None where it did not say. `is_unclear`: what was asked of it may
    have taken place all the same.
    """

    def __init__(
        self,
        state: Literal["throttled", "refused", "away"],
        detail: str,
        *,
        wait_s: float | None = None,
        is_unclear: bool = False,
    ) -> None:
        super().__init__(detail)
        self.state = state
        self.detail = detail
        self.wait_s = wait_s
        self.is_unclear = is_unclear


class BatchRefused(HyperionError):
    """The store does not take these changes as one: too many or too much, or one of them spoils it."""

    def __init__(self, detail: str, *, is_too_large: bool, is_unclear: bool = False) -> None:
        super().__init__(detail)
        self.is_too_large = is_too_large
        self.is_unclear = is_unclear
