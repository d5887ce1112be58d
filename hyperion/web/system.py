"""Whether the process lives, whether it can serve, and whether the database answers."""

import asyncio
import time
from typing import Literal

import msgspec
from aiohttp import hdrs, web

from hyperion.db import load_queries, migrations
from hyperion.errors import DatabaseUnavailable
from hyperion.web.auth import Message
from hyperion.web.keys import DB, LIFECYCLE
from hyperion.web.problems import RETRY_AFTER_S
from hyperion.web.route import json_response

SQL = load_queries(__package__, "system.sql")

PING_LIMIT_S = 1.5

UpDown = Literal["up", "down"]


class Components(msgspec.Struct, frozen=True):
    """What the service consists of."""

    api: UpDown
    database: UpDown


class Health(msgspec.Struct, frozen=True):
    """The state of the service; `timestamp` in Unix seconds."""

    status: Literal["healthy", "unhealthy"]
    timestamp: float
    components: Components
    database_latency_ms: float | None


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ReadyQuery(msgspec.Struct, frozen=True):
    """`verbose`, with or without a value, lists the checks."""

    verbose: str | None = None


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether requests should be sent here; `checks` says of each check `ok` or what is wrong."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str] | None = None


async def greet(_request: web.Request) -> Message:
    """Say that this is Hyperion."""
    return Message("Hyperion API is running")


async def show_health(request: web.Request) -> web.Response:
    """Tell whether the database answers, within two seconds in any case."""
    latency_ms = await _ping(request)
    is_up = latency_ms is not None
    health = Health(
        status="healthy" if is_up else "unhealthy",
        timestamp=round(time.time(), 3),
        components=Components(api="up", database="up" if is_up else "down"),
        database_latency_ms=latency_ms,
    )
    return _answer(health, is_good=is_up)


async def show_alive(_request: web.Request) -> Alive:
    """Tell that the process answers, whatever else does not."""
    return Alive()


async def show_ready(request: web.Request, query: ReadyQuery) -> web.Response:
    """Tell whether requests should be sent here."""
    is_up = await _ping(request) is not None
    checks = {
        "database": "ok" if is_up else "unavailable",
        "schema": await _schema(request) if is_up else "unknown",
        "lifecycle": "draining" if request.app[LIFECYCLE].is_draining else "ok",
    }
    is_ready = set(checks.values()) == {"ok"}
    readiness = Readiness("ready" if is_ready else "not ready", checks if "verbose" in request.query else None)
    return _answer(readiness, is_good=is_ready)


def _answer(state: Health | Readiness, *, is_good: bool) -> web.Response:
    response = json_response(state, status=200 if is_good else 503)
    if not is_good:
        response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_S)
    return response


async def _ping(request: web.Request) -> float | None:
    started_s = time.perf_counter()
    try:
        async with asyncio.timeout(PING_LIMIT_S):
            await request.app[DB].fetch_value(SQL.ping, timeout_s=PING_LIMIT_S)
    except (DatabaseUnavailable, TimeoutError):
        return None
    return round((time.perf_counter() - started_s) * 1000, 2)


async def _schema(request: web.Request) -> str:
    """Compare the schema; once it is current it is not asked for again, since nothing takes it back."""
    lifecycle = request.app[LIFECYCLE]
    if lifecycle.is_schema_current:
        return "ok"
    try:
        async with asyncio.timeout(PING_LIMIT_S):
            lifecycle.is_schema_current = not await migrations.pending(request.app[DB])
    except (DatabaseUnavailable, TimeoutError):
        return "unknown"
    return "ok" if lifecycle.is_schema_current else "outdated"
