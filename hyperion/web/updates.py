"""The WebSocket that shows a user's photos changing."""

import asyncio
from contextlib import suppress
from typing import Annotated

import msgspec
from aiohttp import WSCloseCode, web
from msgspec import Meta

from hyperion.errors import DatabaseUnavailable
from hyperion.web import origins, sessions
from hyperion.web.keys import FEED, PLACES, PRESENCE, SESSION_WATCH
from hyperion.web.live import LiveFeed, Reader
from hyperion.web.outbox import Outbox
from hyperion.web.problems import Problem
from hyperion.web.revocation import Watched
from hyperion.web.sessions import Session

FRAME_LIMIT_BYTES = 64 << 10  # aiohttp already refuses what is as large as its limit
HEARTBEAT_S = 30.0
SEND_LIMIT_S = 10.0
CLOSE_LIMIT_S = 2.0

OPEN_SOCKETS = web.AppKey("open_sockets", set[Outbox])


class Follow(msgspec.Struct, frozen=True):
    """Where to begin: after change number `since`, or with what happens from now on."""

    since: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


async def admit(request: web.Request) -> Session:
    """Return the session that may open a socket. Raises Problem 403 for a foreign page, 401 without a session."""
    origins.require_allowed(request)
    return await sessions.authenticate_socket(request)


async def follow(request: web.Request, session: Session, query: Follow) -> web.StreamResponse:
    """Send every change of the user's photos, from `since` on, over a WebSocket.

    Each frame is one JSON text. Everything that can be refused is refused before the upgrade; a plain
    request gets 426. The socket is closed with 1001 when the process stops, 1008 when the session
    ends, 1009 after a frame of more than 64 KiB, 1013 when the client reads too slowly.
    """
    feed = request.app[FEED]
    async with request.app[PLACES].hold(session.user.id):
        current = await feed.current_seq(session.user.id)
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=FRAME_LIMIT_BYTES + 1, timeout=CLOSE_LIMIT_S, compress=False
        )
        if not socket.can_prepare(request):
            raise Problem(426, "upgrade_required", "This is a WebSocket.", headers={"Upgrade": "websocket"})
        await socket.prepare(request)
        outbox = Outbox()
        since = current if query.since is None else query.since
        reader = feed.join(session.user.id, outbox, since=since, current=current)
        watched = Watched(
            session.jti, session.user.id, session.expires_at, lambda: outbox.close(WSCloseCode.POLICY_VIOLATION)
        )
        request.app[SESSION_WATCH].add(watched)
        request.app[PRESENCE].connect(session.id, session.user.id)
        request.app[OPEN_SOCKETS].add(outbox)
        try:
            await _serve(request, socket, feed, reader)
        finally:
            feed.leave(reader)
            request.app[SESSION_WATCH].discard(watched)
            request.app[PRESENCE].disconnect(session.id, session.user.id)
            request.app[OPEN_SOCKETS].discard(outbox)
    return socket


async def close_sockets(app: web.Application) -> None:
    """Close every socket with 1001, as the process is about to end."""
    for outbox in app[OPEN_SOCKETS].copy():
        outbox.close(WSCloseCode.GOING_AWAY)


async def _serve(request: web.Request, socket: web.WebSocketResponse, feed: LiveFeed, reader: Reader) -> None:
    """Write and listen until the client goes or there is a reason to close."""
    outbox = reader.outbox
    writing = asyncio.create_task(outbox.write_to(socket.send_str, within_s=SEND_LIMIT_S))
    catching_up = asyncio.create_task(_catch_up(feed, reader))
    listening = asyncio.create_task(_listen(socket))
    closing = asyncio.create_task(outbox.closed())
    try:
        await asyncio.wait({listening, closing}, return_when=asyncio.FIRST_COMPLETED)
        writing.cancel()
        if closing.done():
            await _close(request, socket, closing.result())
    finally:
        tasks = (writing, catching_up, listening, closing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _catch_up(feed: LiveFeed, reader: Reader) -> None:
    try:
        await feed.catch_up(reader)
    except DatabaseUnavailable:
        reader.outbox.close(WSCloseCode.TRY_AGAIN_LATER)


async def _listen(socket: web.WebSocketResponse) -> None:
    """Read what the client sends and drop it, until it closes; pings and closes are answered on the way."""
    async for _ in socket:
        pass


async def _close(request: web.Request, socket: web.WebSocketResponse, code: int) -> None:
    """Close, and cut the line of a client that does not take even that."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSE_LIMIT_S * 1.5):
            await socket.close(code=code, drain=False)
            return
    if request.transport is not None:
        request.transport.abort()
