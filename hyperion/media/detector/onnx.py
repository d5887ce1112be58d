"""The detector that looks: a photo made fit for a net, the net, and boxes in fractions of the photo."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from PIL import Image

from hyperion.media import image
from hyperion.media.detector import Box, Detection, Finding, summed_up
from hyperion.media.detector.boxes import Array, Candidates, suppressed
from hyperion.media.detector.model import GREY, Model, load
from hyperion.media.detector.tiles import TILED_LABEL, tiled_side, tiles_of
from hyperion.settings import Settings

IOU = 0.5


class OnnxDetector:
    """Looks at photos with the model in `path`, in the one thread that `thread` has.

    The model is loaded there at the first use, or by `prepare`.
    """

    def __init__(self, path: Path, settings: Settings, thread: Executor, *, is_shipped: bool) -> None:
        self._path = path
        self._settings = settings
        self._thread = thread
        self._is_shipped = is_shipped
        self._model: Model | None = None

    def prepare(self) -> None:
        """Have the model loaded. What is wrong with it the first photo will say."""
        self._thread.submit(self._loaded)

    async def detect(
        self, photo: Path, *, picture: Image.Image | None = None, on_progress: Callable[[float], None]
    ) -> Finding:
        """Look at the whole photo and, where that is set, at its tiles."""
        on_progress(0.0)
        loop = asyncio.get_running_loop()
        finding = await loop.run_in_executor(self._thread, self.look, photo, picture)
        on_progress(1.0)
        return finding

    def look(self, photo: Path, picture: Image.Image | None = None) -> Finding:
        """Do the same without a loop, in the calling thread. Raises BadConfiguration for the model."""
        model = self._loaded()
        began_s = time.perf_counter()
        found = self.candidates(model, photo, picture)
        detections = tuple(_detections(found, model))
        took_ms = (time.perf_counter() - began_s) * 1000
        return summed_up(detections, model=model.name, version=model.version, took_ms=took_ms)

    def candidates(
        self, model: Model, photo: Path, picture: Image.Image | None = None, *, thresholds: Array | None = None
    ) -> Candidates:
        """Return what the model sees, the surest first; `thresholds` replaces the model's own."""
        if picture is None or max(picture.size) < max(model.size):
            picture = image.picture(photo, least_side=max(model.size))
        least = model.thresholds if thresholds is None else thresholds
        found = [seen(model, picture, least)]
        if self._settings.tiles:
            found += self._in_tiles(model, image.picture(photo, least_side=tiled_side(model.size)), least)
        merged = Candidates(*(np.concatenate(parts) for parts in zip(*map(_parts, found), strict=True)))
        return suppressed(merged, iou=IOU) if model.head.repeats or self._settings.tiles else merged

    def _in_tiles(self, model: Model, whole: Image.Image, thresholds: Array) -> list[Candidates]:
        found = []
        for tile in tiles_of(whole.size, model.size):
            inside = seen(model, whole.crop(tile), thresholds)
            is_tiled = np.array([model.labels[number] == TILED_LABEL for number in inside.classes], dtype=bool)
            found.append(_moved(inside.chosen(is_tiled), tile, whole.size))
        return found

    def _loaded(self) -> Model:
        if self._model is None:
            self._model = load(self._path, self._settings, is_shipped=self._is_shipped)
        return self._model


def seen(model: Model, picture: Image.Image, thresholds: Array) -> Candidates:
    """Return what the model proposes for one picture, in fractions of the picture."""
    fed, filled = fitted(picture, model.size, is_stretched=model.head.is_stretched)
    found = model.head.read(model.run(fed), model.size, thresholds)
    boxes = np.clip(found.boxes / np.array((*filled, *filled), dtype=np.float32), 0.0, 1.0)
    has_area = np.logical_and.reduce(boxes[:, 2:] > boxes[:, :2], axis=1)
    return Candidates(boxes, np.clip(found.scores, 0.0, 1.0), found.classes).chosen(has_area)


def fitted(picture: Image.Image, size: tuple[int, int], *, is_stretched: bool) -> tuple[Array, tuple[float, float]]:
    """Return the picture as an array of `size`, and the share of its width and height that it fills.

    It keeps its aspect in the top left and the rest is grey, unless it `is_stretched`.
    """
    if is_stretched:
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR)), (1.0, 1.0)
    scale = min(size[0] / picture.width, size[1] / picture.height)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    canvas = np.full((size[1], size[0], 3), GREY, np.uint8)
    canvas[:height, :width] = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return canvas, (width / size[0], height / size[1])


def _detections(found: Candidates, model: Model) -> list[Detection]:
    detections = []
    for box, score, number in zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True):
        label = model.labels[number]
        if label is not None:
            left, top, right, bottom = (round(edge, 5) for edge in box)
            place = Box(left, top, round(right - left, 5), round(bottom - top, 5))
            detections.append(Detection(label, round(score, 4), place))
    return detections


def _parts(found: Candidates) -> tuple[Array, Array, Array]:
    return found.boxes, found.scores, found.classes


def _moved(found: Candidates, tile: tuple[int, int, int, int], size: tuple[int, int]) -> Candidates:
    """Return what was found in a tile in fractions of the whole."""
    left, top, right, bottom = tile
    spread = np.array((right - left, bottom - top) * 2) / np.array(size * 2)
    corner = np.array((left, top) * 2) / np.array(size * 2)
    return Candidates((found.boxes * spread + corner).astype(np.float32), found.scores, found.classes)
