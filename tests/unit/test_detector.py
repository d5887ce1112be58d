"""The simulated detector and how a detector is chosen."""

import asyncio
from pathlib import Path

import pytest

from hyperion.media.detector import SimulatedDetector

PHOTO = Path("photo.jpg")


async def test_the_simulated_detector_finds_nothing() -> None:
    finding = await SimulatedDetector(0).detect(PHOTO, on_progress=lambda _: None)

    assert (finding.detections, finding.has_trash, finding.confidence) == ((), False, None)
    assert (finding.model, finding.version) == ("simulated", "1")


async def test_progress_rises_from_nothing_to_all() -> None:
    seen: list[float] = []

    await SimulatedDetector(0.3).detect(PHOTO, on_progress=seen.append)

    assert seen[0] == 0
    assert seen[-1] == 1
    assert seen == sorted(seen)


async def test_a_simulated_detection_takes_the_time_it_is_given() -> None:
    finding = await SimulatedDetector(0.2).detect(PHOTO, on_progress=lambda _: None)

    assert 190 <= finding.took_ms < 5000


async def test_a_detection_can_be_cancelled() -> None:
    started = asyncio.Event()
    task = asyncio.create_task(SimulatedDetector(600).detect(PHOTO, on_progress=lambda _: started.set()))
    await started.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
