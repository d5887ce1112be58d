"""The commands for people who want to know what the model sees, and how good it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hyperion.errors import BadConfiguration
from hyperion.media.detector import trial
from hyperion.media.detector.boxes import Candidates
from hyperion.media.detector.scoring import Truth, score
from hyperion.settings import Settings
from tests.nets import can_finder
from tests.photos import make_photo
from tests.unit.commands import run


def test_an_operator_sees_how_the_model_is_understood(tmp_path: Path) -> None:
    done = run("check", folder=tmp_path, HYPERION_THRESHOLDS="overflow=0.9")

    assert done.returncode == 0, done.stderr
    assert "head hyperion, input 416 x 416" in done.stdout
    assert "class garbage: shown as garbage, litter, from 0.55" in done.stdout
    assert "class overflow: shown as overflow, litter, from 0.90" in done.stdout


def test_an_operator_tries_a_photo(tmp_path: Path) -> None:
    make_photo(tmp_path / "photo.jpg", size=(200, 200))
    net = can_finder(tmp_path / "net.onnx")

    done = run("try", str(tmp_path / "photo.jpg"), folder=tmp_path, HYPERION_MODEL=str(net))

    assert done.returncode == 0, done.stderr
    assert "garbage      0.80  x 0.000 y 0.000 w 0.500 h 0.500" in done.stdout
    assert "litter, 80 %" in done.stdout
    with Image.open(tmp_path / "photo.jpg.boxes.jpg") as drawing:
        assert drawing.size == (200, 200)


def test_an_operator_measures_a_model_on_labelled_photos(tmp_path: Path) -> None:
    """Two of three photos have a can where the net sees one, the third has none."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for name, line in (("a", "0 0.25 0.25 0.5 0.5"), ("b", "0 0.25 0.25 0.5 0.5\n0 0.8 0.8 0.2 0.2"), ("c", "")):
        make_photo(folder / "images" / f"{name}.jpg", size=(100, 100))
        (folder / "labels" / f"{name}.txt").write_text(line)
    net = can_finder(tmp_path / "net.onnx")

    done = run("evaluate", str(folder), folder=tmp_path, HYPERION_MODEL=str(net))

    assert done.returncode == 0, done.stderr
    [row] = [line.split() for line in done.stdout.splitlines() if line.startswith("garbage")]
    # Three detections of the same score, the last one wrong; two of three boxes are found.
    assert row == ["garbage", "3", "0.663", "0.50", "0.667", "0.667"]
    with Image.open(folder / "contact-sheet.jpg") as sheet:
        assert sheet.width == 1600


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("set", "set"),
        ("set", "set/labels"),
        ("set/images", "set/images"),
        ("set/images", "set"),
        ("set/images", "set/labels"),
    ],
)
def test_the_names_of_classes_are_found_where_tools_write_them(tmp_path: Path, asked: str, place: str) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    make_photo(tmp_path / "set" / "images" / "a.jpg", size=(100, 100))
    (tmp_path / "set" / "labels" / "a.txt").write_text("1 0.25 0.25 0.5 0.5")
    (tmp_path / place / "classes.txt").write_text("cat\ngarbage\n")
    net = can_finder(tmp_path / "net.onnx")

    found = trial.evaluate_folder(Settings(model=str(net)), tmp_path / asked, tmp_path / "sheet.jpg")

    assert f"classes as in {tmp_path / place / 'classes.txt'}" in found
    assert "the model shows none as cat" in found
    assert ["garbage", "1", "1.000"] in [line.split()[:3] for line in found.splitlines()]


def test_what_no_label_can_mean_is_said_to_be_left_out(tmp_path: Path) -> None:
    make_photo(tmp_path / "a.jpg", size=(100, 100))
    (tmp_path / "classes.txt").write_text("cat\n")

    found = trial.evaluate_folder(
        Settings(model=str(can_finder(tmp_path / "net.onnx"))), tmp_path, tmp_path / "sheet.jpg"
    )

    assert "left out, as no label can mean it: bin, dog, garbage" in found


def test_what_was_drawn_is_no_photo_to_measure_on(tmp_path: Path) -> None:
    net = can_finder(tmp_path / "net.onnx")
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("a.jpg", "a.jpg.boxes.jpg", "contact-sheet.jpg"):
        make_photo(folder / name, size=(100, 100))

    found = trial.evaluate_folder(Settings(model=str(net)), folder, tmp_path / "sheet.jpg")

    assert "on 1 photos" in found


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ("0 0.5 0.5 0.2", "not a class and four numbers"),
        ("can 0.5 0.5 0.2 0.2", "not a class and four numbers"),
        ("3 0.5 0.5 0.2 0.2", "a class that has no name"),
        ("0.5 0.5 0.5 0.2 0.2", "a class that has no name"),
        ("nan 0.5 0.5 0.2 0.2", "a class that has no name"),
        ("0 nan 0.5 0.2 0.2", "not in fractions"),
        ("0 50 50 20 20", "not in fractions"),
    ],
)
def test_labels_that_mean_nothing_are_refused_by_name(tmp_path: Path, labels: str, fault: str) -> None:
    make_photo(tmp_path / "a.jpg", size=(100, 100))
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{labels}")

    with pytest.raises(BadConfiguration, match=rf"a\.txt has .*{fault}"):
        trial.evaluate_folder(Settings(model=str(can_finder(tmp_path / "net.onnx"))), tmp_path, tmp_path / "sheet.jpg")


def test_a_photo_that_cannot_be_measured_on_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")

    with pytest.raises(BadConfiguration, match=r"broken\.jpg: The file is not a photo"):
        trial.evaluate_folder(Settings(model=str(can_finder(tmp_path / "net.onnx"))), tmp_path, tmp_path / "sheet.jpg")


def test_a_drawing_that_cannot_be_kept_is_said_before_anything_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no photo")

    done = run("try", str(tmp_path / "photo.jpg"), "--out", "/nowhere/a.jpg", folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr.endswith("Error: Invalid value for '--out': there is no folder '/nowhere'\n")


def test_a_drawing_does_not_replace_its_photo(tmp_path: Path) -> None:
    make_photo(tmp_path / "photo.jpg", size=(50, 50))
    before = (tmp_path / "photo.jpg").read_bytes()

    done = run("try", str(tmp_path / "photo.jpg"), "--out", str(tmp_path / "photo.jpg"), folder=tmp_path)

    assert (done.returncode, (tmp_path / "photo.jpg").read_bytes()) == (2, before)


def test_a_drawing_whose_folder_cannot_even_be_looked_for_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no photo")

    done = run("try", str(tmp_path / "photo.jpg"), "--out", f"/{'x' * 300}/a.jpg", folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr.endswith("File name too long\n")


def test_average_precision_is_that_of_coco() -> None:
    """By hand: hit, miss, hit of two boxes; precision 1 to recall 0.5 (51 of 101), then 2/3."""
    box, away = [0, 0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]
    other = [0.0, 0.6, 0.3, 0.9]
    seen = [Candidates(np.array([box, away, other]), np.array([0.9, 0.8, 0.7]), np.array([0, 0, 0]))]
    truths = [Truth(np.array([box, other]), np.array([0, 0]))]

    found = score(seen, truths, 0, threshold=0.75)

    assert found.ap50 == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert (found.precision, found.recall) == (0.5, 0.5)


def test_a_box_is_found_once() -> None:
    box = [0, 0, 0.5, 0.5]
    seen = [Candidates(np.array([box, box]), np.array([0.9, 0.8]), np.array([0, 0]))]

    found = score(seen, [Truth(np.array([box]), np.array([0]))], 0, threshold=0.5)

    assert (found.precision, found.recall) == (0.5, 1.0)
