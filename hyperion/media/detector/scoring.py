"""How good detections are beside what people marked: average precision, precision and recall."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperion.media.detector.boxes import Array, Candidates, overlap

IOU = 0.5
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Truth:
    """What people marked on a photo: boxes (n, 4) left, top, right, bottom in fractions; classes (n,)."""

    boxes: Array
    classes: Array


@dataclass(frozen=True)
class Score:
    """How one class did. None where there is nothing to measure: no box of it, or none was found."""

    marked: int
    ap50: float | None
    precision: float | None
    recall: float | None


def score(seen: Sequence[Candidates], truths: Sequence[Truth], number: int, *, threshold: float) -> Score:
    """Score class `number` over photos: AP50 as COCO defines it (101 recalls), and precision and
    recall of what reaches `threshold`. A marked box is found once, by the surest detection.
    """
    scores, hits = _matched(seen, truths, number)
    marked = sum(int((truth.classes == number).sum()) for truth in truths)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    sure = hits[scores >= threshold]
    return Score(
        marked,
        _average_precision(hits, marked) if marked else None,
        float(sure.mean()) if len(sure) else None,
        float(sure.sum() / marked) if marked else None,
    )


def _matched(seen: Sequence[Candidates], truths: Sequence[Truth], number: int) -> tuple[Array, Array]:
    """Return the score of every detection of a class, and whether it hit a marked box."""
    scores: list[float] = []
    hits: list[bool] = []
    for found, truth in zip(seen, truths, strict=True):
        own, marked = found.chosen(found.classes == number), truth.boxes[truth.classes == number]
        free = np.ones(len(marked), dtype=bool)
        for at in np.argsort(-own.scores, kind="stable"):
            shares = np.where(free, overlap(own.boxes[at], marked), 0.0)
            best = int(shares.argmax()) if len(shares) else -1
            is_hit = best >= 0 and shares[best] >= IOU
            if is_hit:
                free[best] = False
            scores.append(float(own.scores[at]))
            hits.append(bool(is_hit))
    return np.array(scores), np.array(hits, dtype=bool)


def _average_precision(hits: Array, marked: int) -> float:
    if not len(hits):
        return 0.0
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    at_least = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(found / marked, _RECALLS, side="left")
    return float(np.where(places < len(hits), at_least[np.minimum(places, len(hits) - 1)], 0.0).mean())
