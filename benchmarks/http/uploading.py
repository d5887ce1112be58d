"""Uploads: how much is durable a second, beside a bare insert of the same bytes, and what many at once take."""

import asyncio
import io
import multiprocessing
import time
from collections.abc import Awaitable, Callable

import asyncpg
import uvloop
from PIL import Image

from benchmarks.calm import Calm
from benchmarks.http.report import Results
from benchmarks.http.stage import Stage

CLIENTS = 32
IN_FLIGHT = 64
PART_BYTES = 1 << 20
UPLOADER = "uploader"
LAST_BYTES = 1000
BOUNDARY = b"photo-boundary"


def make_photo(size_bytes: int, side: int) -> bytes:
    """Return a JPEG of about so many bytes, as large as a camera makes them: noise at the best fitting quality."""
    noise = Image.effect_noise((side // 4, side * 3 // 16), 60).resize((side, side * 3 // 4)).convert("RGB")
    low, high = 20, 98
    while low < high:
        quality = (low + high + 1) // 2
        noise.save(target := io.BytesIO(), "JPEG", quality=quality)
        low, high = (quality, high) if target.tell() <= size_bytes else (low, quality - 1)
    noise.save(target := io.BytesIO(), "JPEG", quality=low)
    return target.getvalue() + bytes(max(0, size_bytes - target.tell()))  # cameras append what they like as well


def measure_uploads(stage: Stage, results: Results, *, uploads: int) -> None:
    """Have 32 clients send photos of 2 MB, then insert the same bytes with nothing but the driver."""
    photo = make_photo(2_000_000, 4000)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for _ in (calm := Calm[tuple[float, float]]()):
            stage.settle_down()
            ours = pool.apply(_run, (_send_all, stage.port, stage.token(UPLOADER), photo, uploads))
            stage.settle_down()
            calm.take((ours, pool.apply(_run, (_insert_all, stage.url, photo, uploads))))
    ours, bare = calm.best
    results.add("bare", "insert_2mb", bare, "MB/s")
    results.add("hyperion", "upload_2mb", ours, "MB/s")
    results.add("hyperion", "upload_share_of_bare", ours / bare, "")
    results.add_stolen(calm.stolen)


def measure_memory(stage: Stage, results: Results) -> None:
    """Hold 64 uploads of 20 MB just before their ends, then let them end all at once."""
    photo = make_photo(20_000_000, 8000)
    stage.forget_peak()
    before = stage.memory_mb()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(_run, (_send_together, stage.port, stage.token(UPLOADER), photo))
    results.add("hyperion", "memory_before_uploads", before, "MB")
    results.add("hyperion", "memory_64_uploads_of_20mb", stage.memory_mb(peak=True), "MB")


def _run(work: Callable[..., Awaitable[float]], *args: object) -> float:
    async def main() -> float:
        return await work(*args)

    return uvloop.run(main())


def _request(token: str, photo: bytes) -> tuple[bytes, bytes]:
    """Return head and body of an upload."""
    disposition = b'Content-Disposition: form-data; name="files"; filename="photo.jpg"\r\n\r\n'
    body = b"--" + BOUNDARY + b"\r\n" + disposition + photo + b"\r\n--" + BOUNDARY + b"--\r\n"
    head = (
        "POST /api/upload/files HTTP/1.1\r\nHost: localhost\r\n"
        f"Cookie: access_token={token}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 201"):
        raise RuntimeError((head + body).decode())


async def _send_all(port: int, token: str, photo: bytes, uploads: int) -> float:
    """Send `uploads` photos by 32 clients; return the MB a second that were acknowledged."""
    head, body = _request(token, photo)
    left = iter(range(uploads))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(head)
            writer.write(body)
            await writer.drain()
            await _read_answer(reader)
        writer.close()

    began_s = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return uploads * len(photo) / (time.perf_counter() - began_s) / 1e6


async def _send_together(port: int, token: str, photo: bytes) -> float:
    head, body = _request(token, photo)
    all_but_over = asyncio.Barrier(IN_FLIGHT)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        for start in range(0, len(body) - LAST_BYTES, 1 << 18):
            writer.write(body[start : min(start + (1 << 18), len(body) - LAST_BYTES)])
            await writer.drain()
        await all_but_over.wait()
        writer.write(body[-LAST_BYTES:])
        await _read_answer(reader)
        writer.close()

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    return 0.0


async def _insert_all(url: str, photo: bytes, uploads: int) -> float:
    """Insert the same bytes, each photo in a transaction, by as many clients on 16 connections; return MB/s."""
    parts = [photo[start : start + PART_BYTES] for start in range(0, len(photo), PART_BYTES)]
    left = iter(range(uploads))
    async with asyncpg.create_pool(url, min_size=16, max_size=16) as pool:
        await pool.execute("CREATE TABLE IF NOT EXISTS bare_blob (photo int, part int, content bytea)")
        await pool.execute("ALTER TABLE bare_blob ALTER COLUMN content SET STORAGE EXTERNAL")

        async def client() -> None:
            for number in left:
                async with pool.acquire() as connection, connection.transaction():
                    for place, part in enumerate(parts):
                        await connection.execute("INSERT INTO bare_blob VALUES ($1, $2, $3)", number, place, part)

        began_s = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        took_s = time.perf_counter() - began_s
        await pool.execute("DROP TABLE bare_blob")
    return uploads * len(photo) / took_s / 1e6
