"""Where models come from, how good they are said to be, and the commands for both."""

import asyncio
import hashlib
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
from hyperion.media.detector import source
from hyperion.media.detector.onnx import OnnxDetector
from hyperion.media.detector.tiles import tiled_side, tiles_of
from hyperion.settings import Settings
from tests.nets import can_finder
from tests.photos import make_photo
from tests.unit.commands import run

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[2]


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
