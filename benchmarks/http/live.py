"""Live updates: two thousand open sockets, a hundred changes a second, and some who do not read."""

import asyncio
import json
import multiprocessing
import socket
import statistics
import time
from dataclasses import dataclass
from uuid import UUID

import aiohttp
import psycopg
import uvloop

from benchmarks.calm import Calm
from benchmarks.http.report import Results
from benchmarks.http.stage import Stage
from hyperion.db import Database
from hyperion.media import photos
from hyperion.media.status import Status
from hyperion.media.transaction import LIVE_CHANNEL, photo_transaction
from hyperion.queue import Wakeup

SOCKETS_PER_USER = 4
SLOW = 10
SLOW_CHANGES = 20_000  # of 700 bytes: what the kernel buffers, and much more
SLOW_CHANGES_AT_ONCE = 100  # as many as the archiver commits
FLOOD_AFTER_S = 3.0
AT_ONCE = 50
PATH = "/api/upload/ws/updates"
SETTLE_S = 3.0

Instants = dict[tuple[str, int], float]


@dataclass(frozen=True)
class Follower:
    """A user with one photo and open sockets."""

    id: str
    token: str
    media_id: str


@dataclass
class Heard:
    """What the sockets got: when, by user and number, and how often it was double, out of turn or another's."""

    instants: list[tuple[str, int, float]]
    faults: int
    slow_dropped: int


def measure_live(stage: Stage, results: Results, *, sockets: int, per_second: int, seconds: int) -> None:
    """Open the sockets, change photos at the given rate, and compare what was committed with what arrived."""
    followers = _add_followers(stage, sockets // SOCKETS_PER_USER, "follower")
    slow = _add_followers(stage, SLOW, "slow")
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        ready, over = (context.Manager().Event() for _ in range(2))
        listening = pool.apply_async(_run, (_listen, stage.port, followers, slow, ready, over))
        while not ready.wait(1):
            if listening.ready():
                listening.get()
        before_mb = stage.memory_mb()
        for _ in (calm := Calm[Instants](most=1)):  # those who do not read are gone afterwards
            changing = pool.apply_async(_run, (_change, stage.url, followers, per_second, seconds))
            time.sleep(FLOOD_AFTER_S)
            with stage.connect() as connection:
                _flood(connection, slow)
            calm.take(changing.get())
        committed = calm.best
        time.sleep(SETTLE_S)
        after_mb = stage.memory_mb()
        over.set()
        heard = listening.get()
    delays_ms = [(at_s - committed[user, seq]) * 1000 for user, seq, at_s in heard.instants]
    results.add("hyperion", "live_sockets", len(followers) * SOCKETS_PER_USER, "")
    results.add("hyperion", "live_changes", len(committed) / seconds, "changes/s")
    missing = len(committed) * SOCKETS_PER_USER - len(heard.instants)
    results.add("hyperion", "live_missing_or_foreign", heard.faults + abs(missing), "frames")
    results.add("hyperion", "live_p50", statistics.median(delays_ms), "ms")
    results.add("hyperion", "live_p99", statistics.quantiles(delays_ms, n=100)[98], "ms")
    results.add("hyperion", "live_slow_dropped", heard.slow_dropped, f"of {SLOW}")
    results.add("hyperion", "live_memory", after_mb, "MB")
    results.add("hyperion", "live_memory_growth", after_mb - before_mb, "MB")
    results.add_stolen(calm.stolen)


def _add_followers(stage: Stage, count: int, name: str) -> list[Follower]:
    with stage.connect() as connection:
        number = connection.execute("SELECT count(*) FROM app_user").fetchall()[0][0]
        ids = [f"{name} {number} {n}" for n in range(count)]
        connection.execute(
            """
            INSERT INTO app_user (id, email, full_name, language, password_hash)
            SELECT id, id, '', 'en', '' FROM unnest(%s::text[]) AS new (id)
            """,
            (ids,),
        )
        rows = connection.execute(
            """
            INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path,
                stored_at)
            SELECT gen_random_uuid(), id, 'photo.jpg', 'image/jpeg', 1, 1, 1, 'UPLOADED', '', now()
            FROM unnest(%s::text[]) AS new (id)
            RETURNING user_id, id::text
            """,
            (ids,),
        ).fetchall()
    return [Follower(str(user), stage.token(str(user)), str(media)) for user, media in rows]


def _flood(connection: psycopg.Connection[tuple[object, ...]], slow: list[Follower]) -> None:
    """Commit, for those who do not read, far more than the buffers hold; what the product would, at a time."""
    ids = [follower.id for follower in slow]
    connection.execute("UPDATE media SET address = repeat('x', 400) WHERE user_id = ANY (%s)", (ids,))
    for last in range(SLOW_CHANGES_AT_ONCE, SLOW_CHANGES + 1, SLOW_CHANGES_AT_ONCE):
        connection.execute(
            """
            INSERT INTO media_log (user_id, seq, media_id, status, action, message)
            SELECT user_id, n, id, 'PENDING', 'STATUS_CHANGE', ''
            FROM media, generate_series(%s::int, %s::int) AS n
            WHERE user_id = ANY (%s)
            """,
            (last - SLOW_CHANGES_AT_ONCE + 1, last, ids),
        )
        connection.execute("SELECT pg_notify(%s, unnest(%s::text[]))", (LIVE_CHANNEL, ids))


def _run(work, *args):
    return uvloop.run(work(*args))


async def _change(url: str, followers: list[Follower], per_second: int, seconds: int) -> Instants:
    """Change photos, one after the other and each user's in turn; return when each was committed."""
    committed: Instants = {}
    async with Database(url, name="bench writer") as db:
        wakeup = Wakeup(db)
        ringing = asyncio.create_task(wakeup.run())
        began_s = time.monotonic()
        for number in range(per_second * seconds):
            follower, turn = followers[number % len(followers)], number // len(followers)
            await asyncio.sleep(max(0.0, began_s + number / per_second - time.monotonic()))
            async with photo_transaction(db, wakeup) as tx:
                if turn % 2:
                    await photos.abandon(tx, [UUID(follower.media_id)], reason="benchmark")
                else:
                    await photos.advance(tx, UUID(follower.media_id), Status.EXTRACTING, worker="Helios")
            committed[follower.id, turn + 1] = time.monotonic()
        await wakeup.flush(timeout_s=1)
        ringing.cancel()
        await asyncio.gather(ringing, return_exceptions=True)
    return committed


async def _listen(port: int, followers: list[Follower], slow: list[Follower], ready, over) -> Heard:
    """Open all sockets, say so, and note what comes until it is over."""
    instants: list[tuple[str, int, float]] = []
    faults = 0
    opening = asyncio.Semaphore(AT_ONCE)
    opened = asyncio.Barrier(len(followers) * SOCKETS_PER_USER + 1)
    url = f"ws://127.0.0.1:{port}{PATH}"

    async def follow(session: aiohttp.ClientSession, follower: Follower) -> None:
        nonlocal faults
        async with opening:
            connection = await session.ws_connect(url, headers={"Cookie": f"access_token={follower.token}"})
        await opened.wait()
        expected = 1
        async for frame in connection:
            at_s = time.monotonic()
            update = json.loads(frame.data)
            faults += update["media_id"] != follower.media_id or update["seq"] != expected
            expected = update["seq"] + 1
            instants.append((follower.id, update["seq"], at_s))
        raise RuntimeError(f"a socket was closed with {connection.close_code}")

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        tasks = [
            asyncio.create_task(follow(session, follower)) for follower in followers for _ in range(SOCKETS_PER_USER)
        ]
        silent = [await _open_silent(port, follower) for follower in slow]
        all_open = asyncio.create_task(opened.wait())
        done, _ = await asyncio.wait({*tasks, all_open}, return_when=asyncio.FIRST_COMPLETED)
        if all_open not in done:
            done.pop().result()
        ready.set()
        await asyncio.to_thread(over.wait)
        dropped = [await asyncio.to_thread(_was_dropped, connection) for connection in silent]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Heard(instants, faults, sum(dropped))


async def _open_silent(port: int, follower: Follower) -> socket.socket:
    """Open a socket that is never read; its buffer is as small as the kernel allows."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(connection.connect, ("127.0.0.1", port))
    connection.sendall(
        f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Cookie: access_token={follower.token}\r\n\r\n".encode()
    )
    return connection


def _was_dropped(connection: socket.socket) -> bool:
    """Read what is left; tell whether the server had closed the connection."""
    connection.settimeout(1)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True
