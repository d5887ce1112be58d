"""Boxes by the thousand, as arrays: what a net proposes, and the choice among it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_CANDIDATES = 1000
MOST_KEPT = 100


@dataclass(frozen=True)
class Candidates:
    """Proposals: `boxes` (n, 4) as left, top, right, bottom in fractions of the net's input;
    `scores` (n,) 0..1; `classes` (n,) as numbers of the model's classes.
    """

    boxes: Array
    scores: Array
    classes: Array

    def chosen(self, which: Array) -> "Candidates":
        """Return those that `which` (a mask or indices) names."""
        return Candidates(self.boxes[which], self.scores[which], self.classes[which])


def above(boxes: Array, scores: Array, thresholds: Array) -> Candidates:
    """Return every pair of box and class whose score reaches the threshold of that class.

    `boxes` (n, 4), `scores` (n, c), `thresholds` (c,). What is no number reaches nothing.
    """
    rows, classes = np.nonzero(scores >= thresholds)
    found = Candidates(boxes[rows], scores[rows, classes], classes)
    found = found.chosen(np.logical_and.reduce(np.isfinite(found.boxes), axis=1))
    return found.chosen(np.argsort(-found.scores, kind="stable")[:MOST_CANDIDATES])


def suppressed(found: Candidates, *, iou: float) -> Candidates:
    """Return the surest of every heap of boxes of one class that overlap by more than `iou`.

    At most a hundred, the surest first.
    """
    # Boxes of different classes never meet once each class has a place of its own.
    spread = found.boxes - found.boxes.min(initial=0.0)
    spread = spread + found.classes[:, None] * (spread.max(initial=0.0) + 1.0)
    left = np.argsort(-found.scores, kind="stable")
    kept: list[int] = []
    while left.size and len(kept) < MOST_KEPT:
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[overlap(spread[best], spread[left]) <= iou]
    return found.chosen(np.array(kept, dtype=np.intp))


def overlap(box: Array, others: Array) -> Array:
    """Return intersection over union of `box` (4,) with each of `others` (n, 4); 0 where both are empty."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = _area(box[None]) + _area(others) - shared
    share: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share


def from_centres(boxes: Array) -> Array:
    """Return (centre x, centre y, width, height) as left, top, right, bottom."""
    half = boxes[..., 2:4] / 2
    return np.concatenate((boxes[..., :2] - half, boxes[..., :2] + half), axis=-1)


def _area(boxes: Array) -> Array:
    area: Array = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return area
