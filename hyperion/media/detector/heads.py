"""The ways in which nets say what they see, and how each is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hyperion.media.detector.boxes import Array, Candidates, above, from_centres

STRIDES = ((8, 16, 32), (8, 16, 32, 64))
SSD_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes")
Shape = tuple[int, ...]
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Head:
    """How a kind of net is fed and read.

    `read` gets the outputs by name, the input's size (width, height) and a threshold for each
    class. `count` tells the number of classes from the outputs' shapes, None where they do not
    say it. `is_stretched`: the picture fills the input, else its aspect is kept and the rest is
    grey. `is_bgr`, `full_scale`: order and range of the colours of a net that takes floats.
    """

    name: str
    read: Callable[[Outputs, tuple[int, int], Array], Candidates]
    count: Callable[[Mapping[str, Shape]], int | None]
    is_stretched: bool = False
    is_bgr: bool = False
    full_scale: float = 1.0
    repeats: bool = True  # one thing is proposed many times


def _table(shapes: Mapping[str, Shape]) -> str | None:
    """Return the name of the one output that is a table. Older exports give feature maps beside it."""
    tables = [name for name, shape in shapes.items() if len(shape) == 3]
    return tables[0] if len(tables) == 1 else None


def _only(outputs: Outputs) -> Array:
    name = _table({name: output.shape for name, output in outputs.items()})
    if name is None:
        raise ValueError(f"one output must be a table, [1,rows,columns]; there are {', '.join(sorted(outputs))}")
    table: Array = outputs[name][0].astype(np.float32, copy=False)
    return table


def _first(outputs: Outputs, name: str) -> Array:
    """Return the output whose name holds `name`, without its batch."""
    output = next(value for key, value in outputs.items() if name in key)
    return output.reshape(output.shape[1:]) if output.shape[0] == 1 and output.ndim > 1 else output


def _sized(size: tuple[int, int]) -> Array:
    return np.array((*size, *size), dtype=np.float32)


def _read_plain(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    return above(_first(outputs, "boxes") / _sized(size), _first(outputs, "scores"), thresholds)


def _read_yolov5(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    rows = _only(outputs)
    return above(from_centres(rows[:, :4]) / _sized(size), rows[:, 4:5] * rows[:, 5:], thresholds)


def _read_yolov8(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    rows = _only(outputs).T
    return above(from_centres(rows[:, :4]) / _sized(size), rows[:, 4:], thresholds)


def _read_end_to_end(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    rows = _only(outputs)
    return _named(rows[:, :4] / _sized(size), rows[:, 4], rows[:, 5], thresholds)


def _read_yolox(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    rows = _only(outputs)
    cells, strides = grid(size, len(rows))
    boxes = np.concatenate(((rows[:, :2] + cells) * strides, np.exp(rows[:, 2:4]) * strides), axis=1)
    return above(from_centres(boxes) / _sized(size), rows[:, 4:5] * rows[:, 5:], thresholds)


def _read_rtdetr_ultralytics(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    rows = _only(outputs)
    return above(from_centres(rows[:, :4]), rows[:, 4:], thresholds)


def _read_rtdetr(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    boxes = _first(outputs, "boxes") / _sized(size)
    return _named(boxes, _first(outputs, "scores"), _first(outputs, "labels"), thresholds)


def _read_ssd(outputs: Outputs, size: tuple[int, int], thresholds: Array) -> Candidates:
    boxes = _first(outputs, "detection_boxes")[:, [1, 0, 3, 2]]  # it gives top, left, bottom, right
    classes = _first(outputs, "detection_classes") - 1  # 0 is the background
    return _named(boxes, _first(outputs, "detection_scores"), classes, thresholds)


def _named(boxes: Array, scores: Array, classes: Array, thresholds: Array) -> Candidates:
    """Choose among boxes that come with one class each; one that the model does not have is left out."""
    numbers = np.round(classes).astype(np.intp)
    known = (numbers >= 0) & (numbers < len(thresholds)) & np.isfinite(boxes).all(axis=1)
    sure = known & (scores >= thresholds[np.where(known, numbers, 0)])
    found = Candidates(boxes[sure], scores[sure], numbers[sure])
    return found.chosen(np.argsort(-found.scores, kind="stable"))


def grid(size: tuple[int, int], rows: int) -> tuple[Array, Array]:
    """Return cell (n, 2) and stride (n, 1) of each row of a YOLOX, whose strides the number of rows tells."""
    strides = next(s for s in STRIDES if cells_of(size, s) == rows)
    cells, steps = [], []
    for stride in strides:
        y, x = np.mgrid[: size[1] // stride, : size[0] // stride]
        cells.append(np.stack((x.ravel(), y.ravel()), axis=1))
        steps.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(steps).astype(np.float32)


def cells_of(size: tuple[int, int], strides: Sequence[int]) -> int:
    """Count the cells of a net's grids for an input of `size`."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


def _along(axis: int, *, less: int) -> Callable[[Mapping[str, Shape]], int | None]:
    def count(shapes: Mapping[str, Shape]) -> int | None:
        name = _table(shapes)
        return shapes[name][axis] - less if name else None

    return count


HEADS = {
    head.name: head
    for head in (
        Head("hyperion", _read_plain, lambda shapes: shapes["scores"][-1]),
        Head("yolov5", _read_yolov5, _along(2, less=5)),
        Head("yolov8", _read_yolov8, _along(1, less=4)),
        Head("end2end", _read_end_to_end, lambda shapes: None, repeats=False),
        Head("yolox", _read_yolox, _along(2, less=5), is_bgr=True, full_scale=255.0),
        Head("rtdetr-ultralytics", _read_rtdetr_ultralytics, _along(2, less=4), is_stretched=True, repeats=False),
        Head("rtdetr", _read_rtdetr, lambda shapes: None, is_stretched=True, repeats=False),
        Head("ssd", _read_ssd, lambda shapes: None, is_stretched=True, full_scale=255.0, repeats=False),
    )
}


def recognised(inputs: Sequence[str], shapes: Mapping[str, Shape], size: tuple[int, int]) -> Head | None:
    """Tell the head by the names of the inputs and the names and shapes of the outputs; None for no known one.

    YOLOv5 and v7 have three anchors a cell, YOLOX has one; YOLOv8 to v12 turn the table round.
    """
    names = set(shapes)
    if "orig_target_sizes" in inputs:
        return HEADS["rtdetr"]
    if {"boxes", "scores"} == names:
        return HEADS["hyperion"]
    if all(
        any(part in name for name in names) for part in ("detection_boxes", "detection_scores", "detection_classes")
    ):
        return HEADS["ssd"]
    name = _table(shapes)
    return _by_shape(shapes[name][1], shapes[name][2], size) if name else None


def _by_shape(rows: int, columns: int, size: tuple[int, int]) -> Head | None:
    cells = {cells_of(size, strides) for strides in STRIDES}
    if columns == 6 and rows == 300:
        return HEADS["end2end"]
    if columns > 5 and rows in cells:
        return HEADS["yolox"]
    if columns > 5 and rows in {3 * count for count in cells}:
        return HEADS["yolov5"]
    if rows > 4 and columns in cells:
        return HEADS["yolov8"]
    if columns > 4 and rows == 300:
        return HEADS["rtdetr-ultralytics"]
    return None
