"""Which detector the settings ask for."""

from concurrent.futures import Executor
from pathlib import Path

from hyperion.media.detector import Detector, SimulatedDetector
from hyperion.media.detector.source import SHIPPED, is_shipped
from hyperion.settings import Settings


def make_detector(settings: Settings, thread: Executor) -> Detector:
    """Return the detector that HYPERION_DETECTOR names.

    HYPERION_MODEL must be a file by now: the supervisor has checked, and fetched if need be, what
    the environment names. `thread` has one thread, in which the net runs.
    """
    if settings.detector == "simulated":
        return SimulatedDetector(settings.processing_s)
    from hyperion.media.detector.onnx import OnnxDetector  # noqa: PLC0415  (only who looks pays for the net's runtime)

    path = Path(settings.model) if settings.model else SHIPPED
    return OnnxDetector(path, settings, thread, is_shipped=is_shipped(settings))
