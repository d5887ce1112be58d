"""Measure the archiver on a Hub: its memory and its speed with many large photos waiting.

Usage: python -m benchmarks.hub [--photos N] [--mb SIZE] [--only xet|lfs]
The Hub is the one of the tests, in a process of its own. Prints a table and writes benchmarks/results/hub.json.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import psutil

from hyperion import logs
from hyperion.db import Database, migrations
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.media.photos import PART_BYTES
from tests.hub.server import TOKEN, Hub
from tests.lifecycle.tree import Tree
from tests.until import until

RESULTS = Path(__file__).parent / "results" / "hub.json"
MEMORY_GOAL_MB = 250.0
REPO = "ada/photos"


def serve(folder: str, answer: Connection) -> None:
    """Run a Hub until the process is killed; send its address."""

    async def run() -> None:
        hub = Hub(Path(folder))
        answer.send(await hub.start())
        await asyncio.Event().wait()

    asyncio.run(run())


async def fill(db: Database, photos: int, size_bytes: int) -> None:
    """Let photos of random bytes wait for the archiver."""
    await db.execute("DELETE FROM app_user")
    await db.execute(
        "INSERT INTO app_user (id, email, full_name, language, password_hash) VALUES ('u', 'u', 'x', 'en', 'x')"
    )
    for _ in range(photos):
        media_id = uuid4()
        async with db.transaction() as connection:
            await connection.execute(
                "INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path)"
                " VALUES ($1, 'u', 'a.jpg', 'image/jpeg', $2, 1, 1, 'PENDING', $3)",
                media_id,
                size_bytes,
                f"media/u/2026-05-01/{media_id}_a.jpg",
            )
            parts = [(media_id, n, os.urandom(PART_BYTES)) for n in range(size_bytes // PART_BYTES)]
            await connection.executemany("INSERT INTO media_blob VALUES ($1, $2, $3)", parts)
    await db.execute(
        "WITH t AS (INSERT INTO task (lane, kind, payload, item)"
        " SELECT 'archive', 'archive', '{}', id FROM media RETURNING id)"
        " INSERT INTO task_ready (lane, seq, task_id) SELECT 'archive', nextval('task_seq'), id FROM t"
    )


async def measure(url: str, hub: str, folder: Path, *, photos: int, xet: bool) -> dict[str, float]:
    """Let the archiver store what waits; return its greatest memory and how long it took."""
    settings = {
        "HF_ENDPOINT": hub,
        "HF_TOKEN": TOKEN,
        "HF_REPO_ID": f"{REPO}-{'xet' if xet else 'lfs'}",
        "HYPERION_HUB_XET": str(xet),
        "HYPERION_HUB_COMMITS_PER_HOUR": "100000",
        "HYPERION_ACTORS": "archiver",
    }
    tree = Tree(url, folder, **settings)
    try:
        await tree.start()
        archiver = psutil.Process(tree.processes()["archiver archiver"])
        began_s, peak_mb = time.monotonic(), 0.0
        async with Database(url, name="bench", max_connections=2) as db:

            async def is_done() -> bool:
                nonlocal peak_mb
                with suppress(psutil.NoSuchProcess):
                    peak_mb = max(peak_mb, archiver.memory_info().rss / 1e6)
                return not await db.fetch_value("SELECT count(*) FROM media WHERE status = 'PENDING'")

            await until(is_done, within_s=600, every_s=0.1)
        took_s = time.monotonic() - began_s
        await tree.stop()
    finally:
        tree.close()
    return {"peak_rss_mb": round(peak_mb, 1), "took_s": round(took_s, 1), "photos_per_s": round(photos / took_s, 1)}


async def run(options: argparse.Namespace) -> None:
    """Measure both ways of sending, and print what was found."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as folder:
        here, there = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(f"{folder}/hub", there), daemon=True)
        server.start()
        postgres = EmbeddedPostgres(Path(folder), durable=False)
        postgres.start()
        try:
            url = postgres.ensure_database("bench")
            migrations.apply(url)
            hub = here.recv()
            for name in (options.only,) if options.only else ("xet", "lfs"):
                async with Database(url, name="bench", max_connections=2) as db:
                    await fill(db, options.photos, int(options.mb * PART_BYTES))
                found[name] = await measure(
                    url, hub, Path(tempfile.mkdtemp(dir=folder)), photos=options.photos, xet=name == "xet"
                )
                verdict = "met" if found[name]["peak_rss_mb"] <= MEMORY_GOAL_MB else "MISSED"
                print(f"{name}: {found[name]}  (memory at most {MEMORY_GOAL_MB:g} MB: {verdict})", flush=True)
        finally:
            postgres.stop(immediate=True)
            server.kill()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2))


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(prog="make bench-hub", description=__doc__)
    parser.add_argument("--photos", type=int, default=250)
    parser.add_argument("--mb", type=float, default=8, help="size of each in MiB")
    parser.add_argument("--only", choices=["xet", "lfs"], help="one way of sending only")
    logs.configure("warning")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
