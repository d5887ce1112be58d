"""The settings of what looks at the photos, and of what it may take."""

from dataclasses import dataclass
from pathlib import Path

from hyperion import environ as read

MODEL_HEADS = ("hyperion", "yolov5", "yolov8", "end2end", "yolox", "rtdetr-ultralytics", "rtdetr", "ssd")


@dataclass(frozen=True, kw_only=True)
class DetectorSettings:
    """A net with its model, or a stand-in that only takes its time; limits for either."""

    detector: str = read.setting(
        "HYPERION_DETECTOR",
        read.one_of("onnx", "simulated"),
        "onnx",
        "what looks at the photos: onnx is a model; simulated sees nothing and only takes its time",
    )
    model: str = read.setting(
        "HYPERION_MODEL", read.text, "", "a path or hf://owner/repo/file.onnx@revision; default: the model that ships"
    )
    model_sha256: str = read.setting("HYPERION_MODEL_SHA256", read.sha256, "", "what its file must have, if given")
    model_head: str = read.setting(
        "HYPERION_MODEL_HEAD",
        read.one_of(*MODEL_HEADS),
        "",
        "what its outputs mean (docs/model.md); default: found out",
    )
    model_labels: Path = read.setting(
        "HYPERION_MODEL_LABELS", Path, Path(), "file with its classes' names; default: its metadata"
    )
    model_classes: tuple[tuple[str, str], ...] = read.setting(
        "HYPERION_MODEL_CLASSES",
        read.pairs,
        (),
        "what its classes are here: can=garbage,bin=garbage_bin; default: as named",
    )
    thresholds: tuple[tuple[str, float], ...] = read.setting(
        "HYPERION_THRESHOLDS", read.shares, (), "least score of a class: garbage=0.55; default: the model's own, or 0.5"
    )
    tiles: bool = read.setting(
        "HYPERION_TILES", read.switch, False, "on: look for small litter in tiles as well, at ten times the cost"
    )
    decode_timeout_s: float = read.setting(
        "HYPERION_DECODE_TIMEOUT_S",
        read.seconds(0.1, 3600),
        60.0,
        "longest time that reading a photo, or looking at it, may take",
    )
    decode_memory_bytes: int = read.setting(
        "HYPERION_DECODE_MEMORY_BYTES",
        read.whole(1 << 20, 1 << 40),
        2 << 30,
        "memory that a worker may take for a photo, beyond what it has at rest",
    )
    extraction_s: float = read.setting(
        "HYPERION_SIMULATED_EXTRACTION_S",
        read.seconds(0, 600),
        5.0,
        "least time of a simulated task's extraction stage",
    )
    processing_s: float = read.setting(
        "HYPERION_SIMULATED_PROCESSING_S", read.seconds(0, 600), 20.0, "time that a simulated detection takes"
    )
