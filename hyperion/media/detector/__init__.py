"""What looks at a photo for litter: the interface, and a stand-in that only takes its time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the supervisor checks the model and never opens a photo
    from PIL import Image

# What counts as litter. Every other label is shown and leaves a photo clean.
TRASH_LABELS = ("garbage", "overflow")

_STEPS_MAX = 20
_STEP_LEAST_S = 0.1


@dataclass(frozen=True)
class Box:
    """A rectangle in a photo: left, top, width and height as fractions 0..1 of the image as a
    person sees it, turned upright.
    """

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class Detection:
    """One thing that was found. `confidence` 0..1, `area_sqm` in square metres where it is known."""

    label: str
    confidence: float
    box: Box
    area_sqm: float | None = None


@dataclass(frozen=True)
class Finding:
    """What a detector says about one photo. `confidence` 0..100 or None, `took_ms` in milliseconds."""

    detections: tuple[Detection, ...]
    has_trash: bool
    confidence: float | None
    model: str
    version: str
    took_ms: float


class Detector(Protocol):
    """Finds litter in photos."""

    def prepare(self) -> None:
        """Have ready what the first photo would have to wait for. Returns at once."""

    async def detect(
        self, photo: Path, *, picture: "Image.Image | None" = None, on_progress: Callable[[float], None]
    ) -> Finding:
        """Look at `photo` and say what is on it; cancelling stops the waiting for it.

        `picture` is the photo as `image.picture` gives it, where the caller has it already.
        `on_progress` is called with the share that is done, 0..1, never falling. Raises
        PhotoUnusable when the photo cannot be decoded.
        """


class SimulatedDetector:
    """Takes `processing_s` seconds for a photo, which it never opens, and finds nothing."""

    def __init__(self, processing_s: float) -> None:
        self._processing_s = processing_s

    def prepare(self) -> None:
        """Do nothing: there is nothing to load."""

    async def detect(
        self,
        photo: Path,
        *,
        picture: "Image.Image | None" = None,
        on_progress: Callable[[float], None],
    ) -> Finding:
        """Report progress from 0 to 1 in at most twenty steps, a tenth of a second or longer each."""
        started = time.perf_counter()
        steps = max(1, min(_STEPS_MAX, int(self._processing_s / _STEP_LEAST_S)))
        on_progress(0.0)
        for step in range(1, steps + 1):
            await asyncio.sleep(self._processing_s / steps)
            on_progress(step / steps)
        return summed_up((), model="simulated", version="1", took_ms=(time.perf_counter() - started) * 1000)


def summed_up(detections: tuple[Detection, ...], *, model: str, version: str, took_ms: float) -> Finding:
    """Return what these detections say together: litter or not, as surely as the surest of it."""
    trash = [found.confidence for found in detections if found.label in TRASH_LABELS]
    confidence = round(max(trash) * 100, 2) if trash else None
    return Finding(detections, bool(trash), confidence, model, version, took_ms)
