"""Every kind of net is recognised and read: one box, one class, one score, known beforehand."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

from hyperion.errors import BadConfiguration
from hyperion.media.detector import Finding
from hyperion.media.detector.model import load
from hyperion.media.detector.onnx import OnnxDetector
from hyperion.settings import Settings
from tests.nets import METADATA, make_colour_net, make_net

SETTINGS = Settings(model_classes=(("can", "garbage"), ("bin", "garbage_bin")))
SIZE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2

Net = Callable[[Path], Path]


def look(path: Path, *, photo: Image.Image | None = None, settings: Settings = SETTINGS) -> Finding:
    picture = photo or Image.new("RGB", (SIZE, SIZE))
    return OnnxDetector(path, settings, ThreadPoolExecutor(1), is_shipped=False).look(path, picture)


def table(rows: int, columns: int, *, row: int, values: list[float]) -> dict[str, np.ndarray[Any, Any]]:
    filled = np.zeros((1, rows, columns), np.float32)
    filled[0, row] = values
    return {"output0": filled}


# Each says: a can from (16, 8) to (32, 40) of 64 pixels, with 0.8. Centre (24, 24), 16 x 32.
SCORED = [0.8, 0.0, 0.0]
NETS: dict[str, Net] = {
    "hyperion": lambda path: make_net(
        path,
        {
            "boxes": np.array([[[16, 8, 32, 40], [0, 0, 9, 9]]], np.float32),
            "scores": np.array([[SCORED, [0, 0, 0]]], np.float32),
        },
        dtype=TensorProto.UINT8,
    ),
    "yolov5": lambda path: make_net(path, table(3 * CELLS, 8, row=7, values=[24, 24, 16, 32, 1, *SCORED])),
    "yolov8": lambda path: make_net(
        path,
        {"output0": table(CELLS, 7, row=7, values=[24, 24, 16, 32, *SCORED])["output0"].transpose(0, 2, 1).copy()},
    ),
    "end2end": lambda path: make_net(path, table(300, 6, row=0, values=[16, 8, 32, 40, 0.8, 0])),
    # The cell at x 3, y 2 of stride 8 is row 19: (3 + 0) * 8 = 24, (2 + 1) * 8 = 24, e^x * 8.
    "yolox": lambda path: make_net(
        path, table(CELLS, 8, row=19, values=[0, 1, float(np.log(2)), float(np.log(4)), 1, *SCORED])
    ),
    "rtdetr-ultralytics": lambda path: make_net(
        path, table(300, 7, row=0, values=[24 / 64, 24 / 64, 16 / 64, 32 / 64, *SCORED])
    ),
    "rtdetr": lambda path: make_net(
        path,
        {
            "labels": np.zeros((1, 300), np.int64),
            "boxes": np.tile(np.array([16, 8, 32, 40], np.float32), (1, 300, 1)),
            "scores": np.array([[0.8] + [0.0] * 299], np.float32),
        },
        more_inputs=["orig_target_sizes"],
    ),
    "ssd": lambda path: make_net(
        path,
        {
            "detection_boxes": np.array([[[8 / 64, 16 / 64, 40 / 64, 32 / 64], [0, 0, 0, 0]]], np.float32),
            "detection_classes": np.array([[1, 1]], np.float32),
            "detection_scores": np.array([[0.8, 0]], np.float32),
            "num_detections": np.array([1], np.float32),
        },
        dtype=TensorProto.UINT8,
        channels_last=True,
    ),
}


@pytest.mark.parametrize("head", NETS)
def test_a_net_is_recognised_by_what_it_says(tmp_path: Path, head: str) -> None:
    path = NETS[head](tmp_path / "net.onnx")

    assert load(path, SETTINGS).head.name == head


@pytest.mark.parametrize("head", NETS)
def test_what_a_net_says_is_read_as_it_is_meant(tmp_path: Path, head: str) -> None:
    [found] = look(NETS[head](tmp_path / "net.onnx")).detections

    assert found.label == "garbage"
    assert found.confidence == pytest.approx(0.8, abs=1e-3)
    box = (found.box.x, found.box.y, found.box.w, found.box.h)
    assert box == pytest.approx((16 / 64, 8 / 64, 16 / 64, 32 / 64), abs=1e-3)


@pytest.mark.parametrize("head", [name for name in NETS if name not in ("rtdetr", "rtdetr-ultralytics", "ssd")])
def test_boxes_are_fractions_of_the_photo_and_not_of_what_the_net_was_fed(tmp_path: Path, head: str) -> None:
    """A photo twice as wide as high fills the upper half: what is 32 high there is the whole height."""
    [found] = look(NETS[head](tmp_path / "net.onnx"), photo=Image.new("RGB", (200, 100))).detections

    assert (found.box.x, found.box.w) == pytest.approx((16 / 64, 16 / 64), abs=1e-3)
    assert (found.box.y, found.box.y + found.box.h) == pytest.approx((8 / 32, 1.0), abs=1e-3)


@pytest.mark.parametrize("head", ["rtdetr", "rtdetr-ultralytics", "ssd"])
def test_a_net_that_is_fed_stretched_photos_gives_fractions_as_they_are(tmp_path: Path, head: str) -> None:
    [found] = look(NETS[head](tmp_path / "net.onnx"), photo=Image.new("RGB", (200, 100))).detections

    assert (found.box.y, found.box.h) == pytest.approx((8 / 64, 32 / 64), abs=1e-3)


def test_yolox_is_fed_blue_first_in_full_scale(tmp_path: Path) -> None:
    path = make_colour_net(tmp_path / "net.onnx")
    settings = replace(SETTINGS, model_head="yolox")

    blue = look(path, photo=Image.new("RGB", (64, 64), (0, 0, 204)), settings=settings)
    red = look(path, photo=Image.new("RGB", (64, 64), (204, 0, 0)), settings=settings)

    assert blue.confidence == pytest.approx(80, abs=0.5)
    assert red.detections == ()


def test_one_thing_that_is_proposed_twice_is_found_once_in_each_class(tmp_path: Path) -> None:
    boxes = np.array([[[10, 10, 30, 30], [11, 10, 31, 30], [10, 10, 30, 30], [40, 40, 60, 60]]], np.float32)
    scores = np.array([[[0.7, 0, 0], [0.9, 0, 0], [0, 0.6, 0], [0.8, 0, 0]]], np.float32)
    path = make_net(tmp_path / "net.onnx", {"boxes": boxes, "scores": scores}, dtype=TensorProto.UINT8)

    found = look(path).detections

    assert [(item.label, item.confidence) for item in found] == [
        ("garbage", 0.9),
        ("garbage", 0.8),
        ("garbage_bin", 0.6),
    ]


def test_each_class_has_its_threshold_and_what_is_not_named_is_left_out(tmp_path: Path) -> None:
    boxes = np.array([[[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]], np.float32)
    scores = np.array([[[0.6, 0, 0], [0, 0.6, 0], [0, 0, 0.9]]], np.float32)
    metadata = METADATA | {"thresholds": '{"can": 0.7, "bin": 0.5}'}
    path = make_net(
        tmp_path / "net.onnx", {"boxes": boxes, "scores": scores}, dtype=TensorProto.UINT8, metadata=metadata
    )

    as_it_says = look(path)
    lowered = look(path, settings=replace(SETTINGS, thresholds=(("garbage", 0.5),)))

    assert [found.label for found in as_it_says.detections] == ["garbage_bin"]
    assert (as_it_says.has_trash, as_it_says.confidence) == (False, None)
    assert [found.label for found in lowered.detections] == ["garbage", "garbage_bin"]
    assert (lowered.has_trash, lowered.confidence) == (True, 60.0)


def test_what_is_no_number_is_not_found(tmp_path: Path) -> None:
    boxes = np.array([[[np.nan, 0, 9, 9], [20, 0, 29, 9]]], np.float32)
    path = make_net(
        tmp_path / "net.onnx",
        {"boxes": boxes, "scores": np.array([[SCORED, SCORED]], np.float32)},
        dtype=TensorProto.UINT8,
    )

    assert len(look(path).detections) == 1


def plain(path: Path, *, scores: np.ndarray[Any, Any], **more: Any) -> Path:
    boxes = np.zeros((1, scores.shape[1], 4), np.float32)
    return make_net(path, {"boxes": boxes, "scores": scores}, dtype=TensorProto.UINT8, **more)


OK = np.full((1, 2, 3), 0.5, np.float32)
REFUSED: dict[str, tuple[Net, Settings, str]] = {
    "no file": (lambda path: path, SETTINGS, "cannot be loaded"),
    "no net": (lambda path: _written(path, b"not a net"), SETTINGS, "cannot be loaded"),
    "half a net": (lambda path: _written(path, NETS["yolov5"](path).read_bytes()[:4000]), SETTINGS, "cannot be loaded"),
    "no known head": (
        lambda path: make_net(path, {"output0": np.zeros((1, 11, 13), np.float32)}),
        SETTINGS,
        "HYPERION_MODEL_HEAD",
    ),
    "another head than it has": (NETS["yolov8"], replace(SETTINGS, model_head="yolov5"), "59|79|classes"),
    "no names": (lambda path: plain(path, scores=OK, metadata={}), SETTINGS, "HYPERION_MODEL_LABELS"),
    "too few names": (
        lambda path: plain(path, scores=OK, metadata={"classes": '["can", "bin"]'}),
        SETTINGS,
        "3 classes, but 2 names",
    ),
    "nothing that is litter": (lambda path: plain(path, scores=OK), Settings(), "HYPERION_MODEL_CLASSES"),
    "a class that it does not have": (
        lambda path: plain(path, scores=OK),
        Settings(model_classes=(("cat", "garbage"),)),
        "names 'cat'",
    ),
    "a threshold of nothing": (
        lambda path: plain(path, scores=OK),
        replace(SETTINGS, thresholds=(("cat", 0.5),)),
        "HYPERION_THRESHOLDS names 'cat'",
    ),
    "scores that are none": (lambda path: plain(path, scores=OK * 9), SETTINGS, "not between 0 and 1"),
    "nothing but NaN": (lambda path: plain(path, scores=OK * np.nan), SETTINGS, "nothing but NaN"),
    "any size": (lambda path: plain(path, scores=OK, size=("h", "w")), SETTINGS, "input_size"),
    "metadata that are nonsense": (
        lambda path: plain(path, scores=OK, metadata={"names": "{0: __import__('os')}"}),
        SETTINGS,
        "metadata that cannot be read",
    ),
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_a_net_that_cannot_be_used_is_refused_with_what_would_help(tmp_path: Path, case: str) -> None:
    make, settings, reason = REFUSED[case]

    with pytest.raises(BadConfiguration, match=reason):
        load(make(tmp_path / "net.onnx"), settings)


@pytest.mark.parametrize("text", ["can\nbin\ndog\n", '{"names": ["can", "bin", "dog"], "input_size": 64}'])
def test_names_and_size_can_come_from_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels").write_text(text)
    size: Any = ("h", "w") if "input_size" in text else (64, 64)
    path = plain(tmp_path / "net.onnx", scores=OK, size=size, metadata={})

    model = load(path, replace(SETTINGS, model_labels=tmp_path / "labels"))

    assert (model.classes, model.size) == (("can", "bin", "dog"), (64, 64))
