"""Measure the eyes: photos of 12 megapixels through the whole tree, beside the bare work on them.

Usage: python -m benchmarks.eyes [--photos N] [--rounds N]
Prints a table and writes benchmarks/results/eyes.json.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import numpy as np
import psutil
from PIL import Image

from benchmarks.tree import running_tree, start_s
from hyperion import logs
from hyperion.actors import mailbox
from hyperion.actors.specs import TITANS
from hyperion.actors.worker import TIDY_AFTER_S
from hyperion.db import Database
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.media import image
from hyperion.media.detector.onnx import OnnxDetector
from hyperion.media.detector.source import SHIPPED
from hyperion.settings import Settings
from tests.lifecycle.tree import User
from tests.until import until

RESULTS = Path(__file__).parent / "results" / "eyes.json"
UNITS = {
    "bare_photos_per_s": "1/s",
    "tree_photos_per_s": "1/s",
    "efficiency": "",
    "bare_cpu_ms": "ms a photo",
    "workers_cpu_ms": "ms a photo",
    "postgres_cpu_ms": "ms a photo",
    "others_cpu_ms": "ms a photo",
    "pss_mb": "MB",
}
GOALS = {"efficiency": "at least 0.75", "pss_mb": "at most 700"}
SIZE = (4000, 3000)
CORES = 2
A_REQUEST = 20


def make_photos(folder: Path, count: int) -> list[Path]:
    """Write photos of 12 megapixels that differ: noise from coarse to fine, as photos have it, 2 to 3 MB each."""
    chance = np.random.default_rng(12)
    layers = ((8, 0.45), (32, 0.3), (200, 0.15), (1200, 0.1))
    scene = sum(
        np.asarray(_noise(chance, across).resize(SIZE, Image.Resampling.BICUBIC), np.float32) * share
        for across, share in layers
    )
    photo = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
    paths = []
    for number in range(count):
        photo.paste((number % 256, 90, 160), (0, 0, 64, 64))
        paths.append(folder / f"{number}.jpg")
        exif = Image.Exif()
        exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, number % 60), 3: "E", 4: (13.0, 24.0, 0.0)})
        photo.save(paths[-1], "JPEG", quality=90, exif=exif)
    return paths


def _noise(chance: np.random.Generator, across: int) -> Image.Image:
    return Image.fromarray(chance.normal(128, 55, (across * 3 // 4, across, 3)).clip(0, 255).astype(np.uint8))


def work_bare(photos: Sequence[Path]) -> tuple[float, float]:
    """Decode at scale, make the thumbnail, look; nothing else. Return the seconds that it took, and of CPU."""
    detector = OnnxDetector(SHIPPED, Settings(), ThreadPoolExecutor(1), is_shipped=True)
    detector.look(photos[0])
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    for photo in photos:
        picture = image.picture(photo)
        image.thumbnail(picture)
        detector.look(photo, picture)
    return time.monotonic() - began_s, time.process_time() - began_cpu_s


def bare_rate(folder: Path, count: int) -> tuple[float, float]:
    """Return how many photos a second the bare parts do, in one process a core that shares nothing.

    And the milliseconds of CPU that a photo takes.
    """
    command = [sys.executable, "-m", "benchmarks.eyes", "--bare", str(folder), "--photos", str(count // CORES)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(CORES)]
    took = [json.loads(worker.communicate()[0]) for worker in workers]
    rate = sum(count // CORES / took_s for took_s, _ in took)
    return rate, statistics.mean(cpu_s for _, cpu_s in took) / (count // CORES) * 1000


async def measure_tree(
    folder: Path, server: EmbeddedPostgres, photos: Sequence[Path], rounds: int
) -> dict[str, list[float]]:
    """Run a tree with ten workers, send photos through it; count its memory when all have been at work.

    The bare work is done before and after each time, while the tree is idle, so that a machine that is
    now faster, now slower treats both alike. CPU time says where the rest went, whatever else ran.
    """
    found: dict[str, list[float]] = {name: [] for name in UNITS}
    url = server.ensure_database("bench")
    with running_tree(folder, url, HYPERION_DETECTOR="onnx") as tree:
        await start_s(tree)
        async with Database(url, name="bench", max_connections=2) as db, User(tree.base) as user:
            warmers = photos[: 2 * len(TITANS)]  # everybody loads the model, one makes the gazetteer
            await _line_up(db, user, warmers)
            await _let_go(db, len(warmers))
            bare = [await asyncio.to_thread(bare_rate, photos[0].parent, len(photos))]
            for _ in range(rounds):
                await _line_up(db, user, photos)
                clock = CpuClock(tree.pid, server.pid)
                tree_rate = len(photos) / await _let_go(db, len(photos))
                for name, cpu_s in clock.read().items():
                    found[f"{name}_cpu_ms"].append(cpu_s / len(photos) * 1000)
                bare.append(await asyncio.to_thread(bare_rate, photos[0].parent, len(photos)))
                bare_before_and_after = statistics.mean(rate for rate, _ in bare[-2:])
                found["bare_photos_per_s"].append(bare_before_and_after)
                found["bare_cpu_ms"].append(bare[-1][1])
                found["tree_photos_per_s"].append(tree_rate)
                found["efficiency"].append(tree_rate / bare_before_and_after)
        await asyncio.sleep(2 * TIDY_AFTER_S)
        everybody = [psutil.Process(tree.pid), *psutil.Process(tree.pid).children(recursive=True)]
        found["pss_mb"].append(sum(process.memory_full_info().pss for process in everybody) / (1 << 20))
        await tree.stop()
    return found


class CpuClock:
    """Seconds of CPU that workers, Postgres and everybody else in a tree take from now on."""

    def __init__(self, tree_pid: int, server_pid: int | None) -> None:
        self._roots = {"tree": psutil.Process(tree_pid), "postgres": psutil.Process(server_pid)}
        self._began = self._spent()

    def read(self) -> dict[str, float]:
        """Return what was spent since, by processes that are still there."""
        return {name: spent - self._began[name] for name, spent in self._spent().items()}

    def _spent(self) -> dict[str, float]:
        spent = {"workers": 0.0, "postgres": 0.0, "others": 0.0}
        for kind, root in self._roots.items():
            for process in [root, *root.children(recursive=True)]:
                times = process.cpu_times()
                is_worker = " ".join(process.cmdline()).startswith("hyperion: worker")
                name = "postgres" if kind == "postgres" else "workers" if is_worker else "others"
                spent[name] += times.user + times.system
        return spent


async def _line_up(db: Database, user: User, photos: Sequence[Path]) -> None:
    """Upload with the workers paused, until all photos wait for them; the user's earlier ones go."""
    await user.call("DELETE", "/api/vault/all")
    await _tell(db, "pause")
    for at in range(0, len(photos), A_REQUEST):
        form = aiohttp.FormData()
        for photo in photos[at : at + A_REQUEST]:
            form.add_field("files", photo.read_bytes(), filename=photo.name, content_type="image/jpeg")
        await user.call("POST", "/api/upload/files", data=form)
    await until(lambda: _is_all(db, "UPLOADED", len(photos)), within_s=120, every_s=0.1)


async def _let_go(db: Database, count: int) -> float:
    """Let the workers go; return the seconds from then to the last READY."""
    began_s = time.monotonic()
    await _tell(db, "resume")
    await until(lambda: _is_all(db, "READY", count), within_s=300, every_s=0.05)
    return time.monotonic() - began_s


async def _tell(db: Database, verb: str) -> None:
    for name in TITANS:
        await mailbox.send(db, name, verb)

    async def is_heard() -> bool:
        paused = await db.fetch_value("SELECT count(*) FROM actor WHERE kind = 'worker' AND paused")
        return bool(paused == (len(TITANS) if verb == "pause" else 0))

    await until(is_heard, within_s=30)


async def _is_all(db: Database, status: str, count: int) -> bool:
    return bool(await db.fetch_value("SELECT count(*) FROM media WHERE status = $1", status) == count)


async def measure(count: int, rounds: int) -> dict[str, float]:
    """Measure everything on one throw-away server; return the medians."""
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        photos = make_photos(folder / "photos", count)
        server = EmbeddedPostgres(folder)
        server.start()
        try:
            found = await measure_tree(folder, server, photos, rounds)
        finally:
            server.stop()
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Run the measurement and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)  # what one core of the bare parts runs
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(work_bare(sorted(options.bare.glob("*.jpg"))[: options.photos])))
        return
    logs.configure("warning")
    medians = asyncio.run(measure(options.photos, options.rounds))
    RESULTS.parent.mkdir(exist_ok=True)
    rows = [
        {"system": "hyperion", "scenario": name, "claim": None, "value": round(value, 4), "unit": UNITS[name]}
        for name, value in medians.items()
    ]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for name, value in medians.items():
        goal = f"goal: {GOALS[name]}" if name in GOALS else ""
        print(f"{name:24} {value:10.3f} {UNITS[name]:12} {goal}")


if __name__ == "__main__":
    main()
