"""Where models come from, how good they are said to be, and the commands for both."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from PIL import Image

from hyperion.errors import BadConfiguration
from hyperion.media.detector import source, trial
from hyperion.media.detector.boxes import Candidates
from hyperion.media.detector.onnx import OnnxDetector
from hyperion.media.detector.scoring import Truth, score
from hyperion.media.detector.tiles import tiled_side, tiles_of
from hyperion.settings import Settings
from tests.nets import make_net
from tests.photos import make_photo

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[2]


def run(*command: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HYPERION_", "HF_"))}
    environ = own | {"DATABASE_URL": "postgresql://nowhere/x", "SECRET_KEY": "k" * 40, "HYPERION_VAR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "hyperion.cli", "model", *command],
        env=environ | settings, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def can_finder(path: Path, *, seen: float = 0.8) -> Path:
    """Write a net that finds a can in the left upper quarter of everything."""
    return make_net(
        path,
        {"boxes": np.array([[[0, 0, 32, 32]]], np.float32), "scores": np.array([[[seen, 0, 0]]], np.float32)},
        metadata={"names": '["garbage", "bin", "dog"]'},
    )


def test_the_model_that_ships_is_the_one_of_its_card() -> None:
    card = (source.SHIPPED.parent / "MODEL_CARD.md").read_text(encoding="utf-8")

    assert source.locate(Settings()) == source.SHIPPED
    assert source.SHIPPED_SHA256 in card


def test_the_model_that_ships_sees_nothing_on_a_grey_wall(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480), "grey").save(tmp_path / "wall.jpg")
    detector = OnnxDetector(source.SHIPPED, Settings(), ThreadPoolExecutor(1), is_shipped=True)

    finding = detector.look(tmp_path / "wall.jpg")

    assert (finding.detections, finding.has_trash, finding.confidence) == ((), False, None)
    assert (finding.model, finding.version) == ("litter", "1.0.0")


def test_a_model_with_another_checksum_is_refused(tmp_path: Path) -> None:
    path = can_finder(tmp_path / "net.onnx")
    right = hashlib.sha256(path.read_bytes()).hexdigest()

    assert source.locate(Settings(model=str(path), model_sha256=right)) == path
    with pytest.raises(BadConfiguration, match="has the SHA-256"):
        source.locate(Settings(model=str(path), model_sha256="0" * 64))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[BaseTestServer]:
    """A server that answers like the Hub for one file of one revision."""
    content = can_finder(tmp_path / "on-the-hub.onnx").read_bytes()

    async def resolve(request: web.Request) -> web.Response:
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        return web.Response(body=content, headers=headers)

    app = web.Application()
    app.router.add_get("/ada/nets/resolve/v1/a/net.onnx", resolve)
    async with TestServer(app) as server:
        yield server


async def test_a_model_is_fetched_from_the_hub_once_and_used_without_it_from_then_on(
    hub: BaseTestServer, tmp_path: Path
) -> None:
    settings = {
        "HYPERION_MODEL": "hf://ada/nets/a/net.onnx@v1",
        "HYPERION_MODEL_SHA256": hashlib.sha256((tmp_path / "on-the-hub.onnx").read_bytes()).hexdigest(),
        "HF_ENDPOINT": str(hub.make_url("")).rstrip("/"),
    }

    first = await asyncio.to_thread(lambda: run("check", "--path", folder=tmp_path, **settings))
    await hub.close()
    second = await asyncio.to_thread(lambda: run("check", "--path", folder=tmp_path, **settings))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert Path(first.stdout.strip()).read_bytes() == (tmp_path / "on-the-hub.onnx").read_bytes()
    assert first.stdout == second.stdout


async def test_a_model_that_the_hub_does_not_have_is_said(hub: BaseTestServer, tmp_path: Path) -> None:
    settings = {
        "HYPERION_MODEL": "hf://ada/nets/other.onnx@v1",
        "HF_ENDPOINT": str(hub.make_url("")).rstrip("/"),
    }

    done = await asyncio.to_thread(lambda: run("check", folder=tmp_path, **settings))

    assert done.returncode == 78
    assert "hf://ada/nets/other.onnx@v1 cannot be fetched" in done.stderr


@pytest.mark.parametrize("reference", ["hf://net.onnx", "hf://a/b/c.bin", "hf://a/b/../../c"])
def test_a_reference_that_names_no_file_on_the_hub_is_refused(reference: str) -> None:
    with pytest.raises(BadConfiguration, match="must read hf://"):
        source.locate(Settings(model=reference))


def test_another_sum_than_that_of_the_model_that_ships_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="has the SHA-256"):
        source.locate(Settings(model_sha256="0" * 64))


@pytest.mark.parametrize(
    "told",
    [
        {"model_head": "ssd"},
        {"model_classes": (("garbage", "garbage"),)},
        {"thresholds": (("garbage", 0.4),)},
        {"model_labels": Path("names.txt")},
        {"model": "/other.onnx"},
    ],
)
def test_a_model_that_is_told_what_it_is_has_to_be_checked_at_the_start(told: dict[str, Any]) -> None:
    assert source.is_as_shipped(Settings())
    assert not source.is_as_shipped(Settings(**told))


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


@pytest.mark.parametrize("photo", [(4000, 3000), (3000, 4000), (1000, 1000), (5000, 1200), (40, 30), (1, 1)])
def test_tiles_cover_the_photo_and_overlap(photo: tuple[int, int]) -> None:
    covered = np.zeros((photo[1], photo[0]), np.uint8)

    tiles = tiles_of(photo, (416, 416))

    for left, top, right, bottom in tiles:
        assert 0 <= left < right <= photo[0]
        assert 0 <= top < bottom <= photo[1]
        covered[top:bottom, left:right] = 1
    assert covered.all()


def test_a_photo_has_nine_tiles_or_twelve() -> None:
    assert [len(tiles_of(photo, (416, 416))) for photo in ((3000, 3000), (4000, 3000), (3000, 4000))] == [9, 12, 12]


def test_in_tiles_small_litter_is_found_where_it_lies(tmp_path: Path) -> None:
    """The net marks the left upper quarter of what it is shown: of each tile as well, with tiles on."""
    make_photo(tmp_path / "photo.jpg", size=(tiled_side((64, 64)),) * 2)
    net = can_finder(tmp_path / "net.onnx")

    def found(*, tiles: bool) -> set[tuple[float, float]]:
        detector = OnnxDetector(net, Settings(tiles=tiles), ThreadPoolExecutor(1), is_shipped=False)
        boxes = [item.box for item in detector.look(tmp_path / "photo.jpg").detections]
        return {(round(box.x, 2), round(box.y, 2)) for box in boxes}

    assert found(tiles=False) == {(0, 0)}
    places = (0.0, 0.31, 0.61)
    assert {(x, y) for x in places for y in places} <= found(tiles=True)
