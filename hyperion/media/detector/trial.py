"""A model on trial: how it is understood, what it sees on a photo, how it does on labelled ones."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hyperion.errors import BadConfiguration, PhotoUnusable
from hyperion.media import image
from hyperion.media.detector import TRASH_LABELS, Box, Detection
from hyperion.media.detector.boxes import Candidates
from hyperion.media.detector.model import Model, load
from hyperion.media.detector.onnx import OnnxDetector
from hyperion.media.detector.scoring import Truth, score
from hyperion.media.detector.source import is_shipped, locate
from hyperion.settings import Settings

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif")
DRAWN_SUFFIX, SHEET_NAME = ".boxes.jpg", "contact-sheet.jpg"
SCORE_FLOOR = 0.01
SHEET_COLUMNS, SHEET_ROWS, SHEET_SIDE = 5, 8, 320

_COLOURS = {"garbage": "#e6194b", "overflow": "#f58231", "garbage_bin": "#3cb44b"}
_OTHER, _MARKED = "#4363d8", "#ffffff"


def open_model(settings: Settings) -> tuple[Path, Model]:
    """Return the file of the model that the settings name, and the model. Raises BadConfiguration."""
    path = locate(settings)
    return path, load(path, settings, is_shipped=is_shipped(settings))


def described(model: Model) -> str:
    """Say how a model is understood, for people."""
    lines = [
        f"model {model.name}, version {model.version}",
        f"head {model.head.name}, input {model.size[0]} x {model.size[1]}",
    ]
    for name, label, least in zip(model.classes, model.labels, model.thresholds, strict=True):
        shown = "left out" if label is None else f"shown as {label}"
        litter = ", litter" if label in TRASH_LABELS else ""
        lines.append(f"class {name}: {shown}{litter}, from {least:.2f}")
    return "\n".join(lines)


def try_photo(settings: Settings, photo: Path, target: Path) -> str:
    """Look at one photo, draw what is seen into `target`, and say it. Raises PhotoUnusable."""
    detector = _detector(settings)
    finding = detector.look(photo)
    picture = image.picture(photo)
    _drawn(picture, finding.detections).save(target, "JPEG", quality=90)
    lines = [_line(found) for found in finding.detections]
    verdict = f"litter, {finding.confidence:.0f} %" if finding.has_trash else "no litter"
    return "\n".join([*lines, f"{verdict} ({finding.took_ms:.0f} ms)"])


def _line(found: Detection) -> str:
    box = found.box
    return f"{found.label:12} {found.confidence:.2f}  x {box.x:.3f} y {box.y:.3f} w {box.w:.3f} h {box.h:.3f}"


def evaluate_folder(settings: Settings, folder: Path, target: Path) -> str:
    """Look at all photos of `folder`, draw a contact sheet, and say how the model did.

    Raises BadConfiguration for a folder without photos, or with photos or labels that cannot be read.
    """
    path, model = open_model(settings)
    detector = _detector(settings)
    names, source = _class_names(folder, model)
    every = np.full(len(model.classes), SCORE_FLOOR)
    files = sorted(file for file in folder.rglob("*") if _is_photo(file) and file != target)
    if not files:
        raise BadConfiguration([f"{folder} has no photos"])
    seen = []
    for file in files:
        try:
            seen.append(_as_named(detector.candidates(model, file, thresholds=every), model, names))
        except PhotoUnusable as fault:
            raise BadConfiguration([f"{file}: {fault.detail}"]) from fault
    truths = [_truth(file, len(names)) for file in files]
    _contact_sheet(files, seen, truths, names, _thresholds(model, names)).save(target, "JPEG", quality=88)
    lines = [f"{path.name} on {len(files)} photos; classes as in {source}"]
    if unseen := sorted(set(names) - set(model.labels)):
        lines.append(f"the model shows none as {', '.join(unseen)}")
    if unnamed := sorted({label for label in model.labels if label} - set(names)):
        lines.append(f"left out, as no label can mean it: {', '.join(unnamed)}")
    return "\n".join([*lines, _table(seen, truths, names, _thresholds(model, names))])


def _is_photo(file: Path) -> bool:
    """Tell a photo from other files, and from what was drawn beside it."""
    is_drawn = file.name.endswith(DRAWN_SUFFIX) or file.name == SHEET_NAME
    return file.suffix.lower() in PHOTO_SUFFIXES and not is_drawn


def _detector(settings: Settings) -> OnnxDetector:
    return OnnxDetector(locate(settings), settings, ThreadPoolExecutor(1), is_shipped=is_shipped(settings))


def _class_names(folder: Path, model: Model) -> tuple[list[str], str]:
    """Return the names that the labels' numbers stand for, and where they come from.

    Tools write `classes.txt` beside the photos, beside the labels or above both. Without one they are
    what the model's classes are shown as.
    """
    places = [folder, folder / "labels"]
    if folder.name == "images":
        places += [folder.parent, folder.parent / "labels"]
    for listed in (place / "classes.txt" for place in places):
        if listed.is_file():
            lines = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines()]
            return [line for line in lines if line], str(listed)
    return [label or name for label, name in zip(model.labels, model.classes, strict=True)], "the model"


def _thresholds(model: Model, names: Sequence[str]) -> list[float]:
    least = {label: float(t) for label, t in zip(model.labels, model.thresholds, strict=True) if label}
    return [least.get(name, 1.0) for name in names]


def _as_named(found: Candidates, model: Model, names: Sequence[str]) -> Candidates:
    """Return what was found with the numbers of `names`; what has none there is left out."""
    numbers = np.array([names.index(label) if label in names else -1 for label in model.labels])
    renamed = Candidates(found.boxes, found.scores, numbers[found.classes])
    return renamed.chosen(renamed.classes >= 0)


def _truth(photo: Path, classes: int) -> Truth:
    """Read the labels of a photo: class, centre x, centre y, width and height a line, in fractions."""
    beside = photo.with_suffix(".txt")
    apart = photo.parent.parent / "labels" / beside.name if photo.parent.name == "images" else beside
    file = beside if beside.is_file() else apart
    if not file.is_file():
        return Truth(np.empty((0, 4)), np.empty(0, dtype=int))
    try:
        rows = [
            [float(part) for part in line.split()]
            for line in file.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        table = np.array(rows, dtype=float).reshape(-1, 5)
    except ValueError as error:
        raise BadConfiguration([f"{file} has a line that is not a class and four numbers"]) from error
    if not np.isin(table[:, 0], np.arange(classes)).all():
        raise BadConfiguration([f"{file} has a class that has no name"])
    if not ((table[:, 1:] >= 0) & (table[:, 1:] <= 1)).all():
        raise BadConfiguration([f"{file} has a box that is not in fractions of the photo"])
    half = table[:, 3:] / 2
    return Truth(np.concatenate((table[:, 1:3] - half, table[:, 1:3] + half), axis=1), table[:, 0].astype(int))


def _table(seen: Sequence[Candidates], truths: Sequence[Truth], names: Sequence[str], least: Sequence[float]) -> str:
    lines = [f"{'class':16} {'marked':>7} {'AP50':>7} {'from':>6} {'precision':>10} {'recall':>7}"]
    for number, name in enumerate(names):
        found = score(seen, truths, number, threshold=least[number])
        shares = [("-" if value is None else f"{value:.3f}") for value in (found.ap50, found.precision, found.recall)]
        lines.append(f"{name:16} {found.marked:7} {shares[0]:>7} {least[number]:6.2f} {shares[1]:>10} {shares[2]:>7}")
    return "\n".join(lines)


def _contact_sheet(
    files: Sequence[Path],
    seen: Sequence[Candidates],
    truths: Sequence[Truth],
    names: Sequence[str],
    least: Sequence[float],
) -> Image.Image:
    """Draw the first photos small: what people marked in white, what was found in colour."""
    shown = range(min(len(files), SHEET_COLUMNS * SHEET_ROWS))
    rows = -(-len(shown) // SHEET_COLUMNS)
    sheet = Image.new("RGB", (SHEET_COLUMNS * SHEET_SIDE, rows * SHEET_SIDE), "#202020")
    for at in shown:
        picture = image.picture(files[at], least_side=SHEET_SIDE)
        picture.thumbnail((SHEET_SIDE, SHEET_SIDE))
        sure = seen[at].chosen(seen[at].scores >= np.array(least)[seen[at].classes])
        marked = Candidates(truths[at].boxes, np.ones(len(truths[at].classes)), truths[at].classes)
        _draw(picture, _as_detections(marked, names), colour=_MARKED)
        _draw(picture, _as_detections(sure, names))
        sheet.paste(picture, (at % SHEET_COLUMNS * SHEET_SIDE, at // SHEET_COLUMNS * SHEET_SIDE))
    return sheet


def _as_detections(found: Candidates, names: Sequence[str]) -> list[Detection]:
    return [
        Detection(names[number], float(certainty), Box(box[0], box[1], box[2] - box[0], box[3] - box[1]))
        for box, certainty, number in zip(found.boxes.tolist(), found.scores, found.classes, strict=True)
    ]


def _drawn(picture: Image.Image, found: Sequence[Detection]) -> Image.Image:
    _draw(picture, found)
    return picture


def _draw(picture: Image.Image, found: Sequence[Detection], *, colour: str | None = None) -> None:
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    for detection in found:
        box, shade = detection.box, colour or _COLOURS.get(detection.label, _OTHER)
        left, top = box.x * width, box.y * height
        pen.rectangle((left, top, left + box.w * width, top + box.h * height), outline=shade, width=2)
        if not colour:
            pen.text((left + 3, top + 2), f"{detection.label} {detection.confidence:.2f}", fill=shade)
