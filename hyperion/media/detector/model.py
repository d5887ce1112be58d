"""A model's file: what it is fed, what it says, and what that means to us; found out before it is used."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort

from hyperion.errors import BadConfiguration
from hyperion.media.detector import TRASH_LABELS
from hyperion.media.detector.boxes import Array
from hyperion.media.detector.heads import HEADS, Head, recognised
from hyperion.settings import Settings

DEFAULT_THRESHOLD = 0.5
GREY = 114
_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
_SCORE_MARGIN = 1e-3


class Described(msgspec.Struct, frozen=True):
    """What a labels file in JSON may say of a model that does not say it itself."""

    names: list[str] = []
    input_size: int | tuple[int, int] | None = None
    thresholds: dict[str, float] = {}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that can be used. `size` is (width, height) of its input.

    `labels` holds, for each class, what it is shown as, or None where it is left out; `thresholds`
    the least score 0..1 of each class.
    """

    session: ort.InferenceSession
    name: str
    version: str
    head: Head
    size: tuple[int, int]
    is_channels_last: bool
    dtype: Any
    classes: tuple[str, ...]
    labels: tuple[str | None, ...]
    thresholds: Array

    def run(self, image: Array) -> Mapping[str, Array]:
        """Give the net one picture (height, width, 3), RGB 0..255; return its outputs by name."""
        fed = image if self.dtype == np.uint8 else _scaled(image, self.head).astype(self.dtype)
        fed = (fed if self.is_channels_last else fed.transpose(2, 0, 1))[None]
        inputs = self.session.get_inputs()
        feed = {inputs[0].name: np.ascontiguousarray(fed)}
        if len(inputs) > 1:
            feed[inputs[1].name] = np.array([self.size], dtype=np.int64)
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, feed), strict=True))


def load(path: Path, settings: Settings, *, is_shipped: bool = False) -> Model:
    """Load the model in `path` and find out how it is used; it sees one grey picture for that.

    A session has one thread, and must be made in the process that uses it. Raises BadConfiguration,
    which says what is wrong and what would help.
    """
    session = _session(path)
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    described = _described(metadata, settings.model_labels)
    image_input = session.get_inputs()[0]
    if image_input.type not in _TYPES or len(image_input.shape) != 4:
        raise _fault(f"takes {image_input.type} of shape {image_input.shape}, which is no picture")
    is_channels_last = image_input.shape[3] == 3
    model = Model(
        session=session,
        name="litter" if is_shipped else path.stem,
        version=metadata.get("version", "unknown"),
        head=HEADS.get(settings.model_head, HEADS["hyperion"]),
        size=_size(image_input.shape, is_channels_last=is_channels_last, described=described),
        is_channels_last=is_channels_last,
        dtype=_TYPES[image_input.type],
        classes=(),
        labels=(),
        thresholds=np.array([]),
    )
    outputs = _tried(model)
    shapes = {name: output.shape for name, output in outputs.items()}
    if not settings.model_head:
        head = recognised([given.name for given in session.get_inputs()], shapes, model.size)
        if head is None:
            raise _fault(f"has outputs of no known kind: {shapes}; HYPERION_MODEL_HEAD can name one")
        model = replace(model, head=head)
    model = replace(model, **_meaning(_count(model.head, shapes), described, settings))
    _check_reading(model, outputs)
    return model


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common class but this
        raise _fault(f"cannot be loaded from {path}: {_first_line(error)}") from error


def _tried(model: Model) -> Mapping[str, Array]:
    try:
        return model.run(np.full((model.size[1], model.size[0], 3), GREY, np.uint8))
    except Exception as error:
        raise _fault(f"fails on a grey picture of {model.size}: {_first_line(error)}") from error


def _check_reading(model: Model, outputs: Mapping[str, Array]) -> None:
    """Make sure that the outputs are what the head takes them for."""
    try:
        every = np.full(len(model.classes), -np.inf)
        scores = model.head.read(outputs, model.size, every).scores
    except Exception as error:
        raise _fault(f"cannot be read as {model.head.name}: {_first_line(error)}") from error
    if any(np.isnan(output).all() for output in outputs.values() if output.dtype.kind == "f"):
        raise _fault("says nothing but NaN")
    if not np.isfinite(scores).all() or (scores < -_SCORE_MARGIN).any() or (scores > 1 + _SCORE_MARGIN).any():
        raise _fault(f"read as {model.head.name} gives scores that are not between 0 and 1; is it another head?")


def _scaled(image: Array, head: Head) -> Array:
    colours = image[:, :, ::-1] if head.is_bgr else image
    return colours.astype(np.float32) * np.float32(head.full_scale / 255.0)


def _size(shape: list[Any], *, is_channels_last: bool, described: Described) -> tuple[int, int]:
    height, width = shape[1:3] if is_channels_last else shape[2:4]
    if isinstance(height, int) and isinstance(width, int):
        return width, height
    match described.input_size:
        case int(side) if side > 0:
            return side, side
        case (int(tall), int(wide)) if tall > 0 and wide > 0:
            return wide, tall
    raise _fault("takes pictures of any size and does not say of which; HYPERION_MODEL_LABELS can (input_size)")


def _count(head: Head, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    try:
        return head.count(shapes)
    except (KeyError, IndexError) as error:
        raise _fault(f"has outputs {shapes}, which {head.name} has not") from error


def _meaning(count: int | None, described: Described, settings: Settings) -> dict[str, Any]:
    """Say what the classes are called, what they are shown as and from which score on."""
    names = tuple(described.names)
    if not names:
        raise _fault("does not name its classes; give HYPERION_MODEL_LABELS")
    if count is not None and count != len(names):
        raise _fault(f"has {count} classes, but {len(names)} names; is it another head, or the wrong labels?")
    chosen = dict(settings.model_classes)
    if strangers := sorted(set(chosen) - set(names)):
        raise BadConfiguration([f"HYPERION_MODEL_CLASSES names {strangers[0]!r}; the model has {', '.join(names)}"])
    labels = tuple(chosen.get(name) if chosen else name for name in names)
    if not set(labels) & set(TRASH_LABELS):
        shown = ", ".join(label for label in labels if label) or "none"
        raise _fault(
            f"has no class that counts as litter ({' or '.join(TRASH_LABELS)}), only {shown}; "
            "say in HYPERION_MODEL_CLASSES which are"
        )
    asked, said = dict(settings.thresholds), described.thresholds
    if strangers := sorted(set(asked) - set(names) - {label for label in labels if label}):
        raise BadConfiguration([f"HYPERION_THRESHOLDS names {strangers[0]!r}, which the model does not find"])
    thresholds = []
    for name, label in zip(names, labels, strict=True):
        known = (least[key] for least in (asked, said) for key in (name, label) if key in least)
        thresholds.append(next(known, DEFAULT_THRESHOLD))
    return {"classes": names, "labels": labels, "thresholds": np.array(thresholds)}


def _described(metadata: Mapping[str, str], labels_file: Path) -> Described:
    """Bring together what the metadata say (ours or ultralytics') and the labels file, which outweighs it."""
    given = _labels(labels_file) if labels_file != Path() else Described()
    names = _literal(metadata.get("classes") or metadata.get("names"))
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    thresholds = _literal(metadata.get("thresholds"))
    size = _literal(metadata.get("input_size") or metadata.get("imgsz"))
    try:
        own = msgspec.convert({"names": names or [], "input_size": size, "thresholds": thresholds or {}}, Described)
    except msgspec.ValidationError as error:
        raise _fault(f"has metadata that cannot be read: {error}") from error
    return Described(
        given.names or own.names, given.input_size or own.input_size, {**own.thresholds, **given.thresholds}
    )


def _labels(path: Path) -> Described:
    """Read a labels file: a name a line, or JSON as Described."""
    try:
        text = path.read_text(encoding="utf-8")
        if text.lstrip().startswith("{"):
            return msgspec.json.decode(text, type=Described)
    except (OSError, ValueError) as error:
        raise BadConfiguration([f"HYPERION_MODEL_LABELS cannot be read: {error}"]) from error
    return Described([line.strip() for line in text.splitlines() if line.strip()])


def _literal(text: str | None) -> Any:
    """Read a value out of metadata, which ultralytics writes as Python's literals and we as JSON."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise _fault(f"has metadata that cannot be read: {text!r:.80}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _fault(what: str) -> BadConfiguration:
    return BadConfiguration([f"the model {what}"])
