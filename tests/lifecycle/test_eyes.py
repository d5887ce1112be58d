"""The tree with a net: what is seen reaches the map, a wrong model is said, a hostile photo costs little."""

import io
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
from onnx import TensorProto
from PIL import Image

from hyperion.db import Database
from hyperion.media import photos
from hyperion.media.photos import NewPhoto
from hyperion.media.transaction import photo_transaction
from hyperion.queue import Wakeup
from tests.lifecycle.tree import ROOT, Tree, User
from tests.nets import make_net
from tests.photos import scan_bomb
from tests.until import until

MakeTree = Callable[..., Tree]
SignIn = Callable[[Tree], Awaitable[User]]
ONNX = {"HYPERION_DETECTOR": "onnx", "HYPERION_WORKERS": "2"}


def can_finder(path: Path) -> Path:
    """Write a net that finds a can in the left upper quarter of every photo."""
    return make_net(
        path,
        {
            "boxes": np.array([[[0, 0, 32, 32]]], np.float32),
            "scores": np.array([[[0.75, 0, 0]]], np.float32),
        },
        dtype=TensorProto.UINT8,
        metadata={"names": '["can", "bin", "dog"]', "version": "7"},
    )


async def add_photo(db: Database, wakeup: Wakeup, content: bytes, *, side: int = 64) -> UUID:
    """Add a photo that the upload would refuse."""
    user_id = await db.fetch_value("SELECT id FROM app_user")
    photo = NewPhoto(
        id=uuid4(),
        user_id=user_id,
        filename="a.jpg",
        content_type="image/jpeg",
        size_bytes=len(content),
        width=side,
        height=side,
        store_path=f"media/{user_id}/2026-05-01/{uuid4()}_a.jpg",
    )
    async with photo_transaction(db, wakeup) as tx:
        parts = [content[at : at + photos.PART_BYTES] for at in range(0, len(content), photos.PART_BYTES)]
        await photos.create(tx, photo, parts)
    return photo.id


async def failed_reason(db: Database, media_id: UUID) -> str | None:
    reason: str | None = await db.fetch_value("SELECT failed_reason FROM media WHERE id = $1", media_id)
    return reason


async def test_what_an_operators_model_sees_is_on_the_map(make_tree: MakeTree, sign_in: SignIn, tmp_path: Path) -> None:
    model = can_finder(tmp_path / "cans.onnx")
    tree = await make_tree(
        HYPERION_MODEL=str(model), HYPERION_MODEL_CLASSES="can=garbage,bin=garbage_bin", **ONNX
    ).start()
    user = await sign_in(tree)

    [media_id] = await user.upload()
    await user.until_ready([media_id])

    [item] = (await user.call("GET", "/api/map"))["items"]
    assert (item["has_trash"], item["confidence"], item["address"]) == (True, 75.0, "Berlin, Germany")
    [found] = item["detections"]
    assert (found["label"], found["confidence"]) == ("garbage", 0.75)
    assert found["bbox"]["x"] == found["bbox"]["y"] == 0
    assert abs(found["bbox"]["w"] - 0.5) < 0.02
    [media] = (await user.call("GET", "/api/vault"))["items"]
    technical = media["technical_metadata"]
    assert (technical["model"], technical["model_version"]) == ("cans", "7")
    assert technical["detection_ms"] > 0


async def test_a_model_that_cannot_be_used_is_said_at_the_start(make_tree: MakeTree, tmp_path: Path) -> None:
    model = can_finder(tmp_path / "cans.onnx")
    tree = make_tree(HYPERION_MODEL=str(model), **ONNX)

    tree.launch()

    assert await tree.exit_code(within_s=30) == 78
    assert "HYPERION_MODEL_CLASSES" in str(tree.events("configuration.refused"))


async def test_the_model_that_ships_is_checked_as_well_where_it_is_told_what_it_is(make_tree: MakeTree) -> None:
    tree = make_tree(HYPERION_THRESHOLDS="dog=0.5", **ONNX)

    tree.launch()

    assert await tree.exit_code(within_s=30) == 78
    assert "HYPERION_THRESHOLDS names 'dog'" in str(tree.events("configuration.refused"))


async def test_photos_that_hang_a_decoder_or_eat_memory_fail_after_their_attempts_and_the_fleet_goes_on(
    make_tree: MakeTree, sign_in: SignIn, db: Database, wakeup: Wakeup, tmp_path: Path
) -> None:
    tree = await make_tree(
        HYPERION_MODEL=str(can_finder(tmp_path / "cans.onnx")),
        HYPERION_MODEL_CLASSES="can=garbage",
        HYPERION_DECODE_TIMEOUT_S="2",
        HYPERION_DECODE_MEMORY_BYTES=str(120 << 20),
        HYPERION_MAX_CRASHES="2",
        **ONNX,
    ).start()
    user = await sign_in(tree)
    large = Image.new("RGB", (6000, 6000))
    large.save(png := io.BytesIO(), "PNG")
    large.save(webp := io.BytesIO(), "WEBP", method=0)

    bomb = await add_photo(db, wakeup, scan_bomb())
    glutton = await add_photo(db, wakeup, png.getvalue(), side=6000)
    misunderstood = await add_photo(db, wakeup, webp.getvalue(), side=6000)  # its decoder speaks of damage
    harmless = await user.upload(2)

    await until(lambda: failed_reason(db, bomb), within_s=40)
    await until(lambda: failed_reason(db, glutton), within_s=40)
    assert await failed_reason(db, bomb) == "took longer than 2 s to read"
    await until(lambda: failed_reason(db, misunderstood), within_s=40)
    for photo in (glutton, misunderstood):
        assert await failed_reason(db, photo) == "The photo takes more memory than there is for it."
    await until(lambda: len(tree.events("actor.died", exit="6")) == len(tree.events("decoder.stuck")) >= 2)
    await user.until_ready(harmless, within_s=90)


def test_what_actors_are_forked_from_has_one_thread_and_no_socket() -> None:
    """The net's runtime would start a thread that reports to its makers, numpy's algebra some more."""
    code = (
        "import os, hyperion.actors.preload, onnxruntime;"
        "print(len(os.listdir('/proc/self/task')),"
        " sum(os.readlink(f'/proc/self/fd/{n}').startswith('socket:') for n in os.listdir('/proc/self/fd')"
        " if os.path.islink(f'/proc/self/fd/{n}')))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "OPENBLAS", "OMP_"))}

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.stdout.split() == ["1", "0"]
