"""The states of a photo and the steps between them.

PENDING ──► UPLOADED ──► EXTRACTING ──► PROCESSING ──► READY
              ▲  ▲            │              │           │
              │  └─ abandoned ┴──────────────┘           │
              └───────── analysed again ─────────────────┘

FAILED is reached from every state but READY; from FAILED a photo is tried again as PENDING (not
stored yet) or UPLOADED (stored).
"""

from enum import StrEnum
from itertools import pairwise


class Status(StrEnum):
    """What has become of a photo."""

    PENDING = "PENDING"
    UPLOADED = "UPLOADED"
    EXTRACTING = "EXTRACTING"
    PROCESSING = "PROCESSING"
    READY = "READY"
    FAILED = "FAILED"


# For each state, those that it is reached from.
REACHED_FROM: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.FAILED}),
    Status.UPLOADED: frozenset({Status.PENDING, Status.EXTRACTING, Status.PROCESSING, Status.READY, Status.FAILED}),
    Status.EXTRACTING: frozenset({Status.UPLOADED}),
    Status.PROCESSING: frozenset({Status.EXTRACTING}),
    Status.READY: frozenset({Status.PROCESSING}),
    Status.FAILED: frozenset({Status.PENDING, Status.UPLOADED, Status.EXTRACTING, Status.PROCESSING}),
}


def is_legal_walk(statuses: list[Status]) -> bool:
    """Tell whether a photo may have gone through these states, from its first on."""
    return statuses[:1] == [Status.PENDING] and all(
        before in REACHED_FROM[after] for before, after in pairwise(statuses)
    )
