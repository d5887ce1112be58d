"""What happens around every request: its id, its log line, its headers, and errors made answers."""

import re
import time
from collections.abc import Container

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from hyperion import logs
from hyperion.errors import HyperionError
from hyperion.web import ids, origins, problems
from hyperion.web.keys import SETTINGS
from hyperion.web.problems import Problem
from hyperion.web.traffic import Traffic

log = logs.get_logger()

REQUEST_ID = "X-Request-ID"
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = frozenset({"/livez", "/readyz", "/api/health"})
_REQUEST_ID_KEY = web.RequestKey("request_id", str)
_STARTED_KEY = web.RequestKey("response_started", bool)
HSTS = "max-age=31536000; includeSubDomains"  # a year
_GONE = 499  # what is logged and counted for a client that went away
_OTHER_METHOD = "_OTHER"  # anybody can invent methods, and each would be a row

SECURITY_HEADERS = {
    hdrs.X_CONTENT_TYPE_OPTIONS: "nosniff",
    hdrs.CONTENT_SECURITY_POLICY: "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.SERVER: "Hyperion",
}


def counting(traffic: Traffic, *, sockets: Container[str]) -> Middleware:
    """Return the middleware that counts and times every request.

    Of the routes `sockets` only what is refused counts: a WebSocket has no answer to wait for.
    """

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        began_s = time.monotonic()
        status = _GONE
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            route = _template(request)
            if status not in (101, _GONE) or route not in sockets:
                method = request.method if request.method in hdrs.METH_ALL else _OTHER_METHOD
                traffic.count((route, method, status), began_s=began_s, ended_s=time.monotonic())
        return response

    return count


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, bind it for the logs, and write one line when it is served."""
    given = request.headers.get(REQUEST_ID, "")
    request_id = given if _WELL_FORMED_ID.fullmatch(given) else ids.request_id()
    request[_REQUEST_ID_KEY] = request_id
    started_s = time.perf_counter()
    bound = logs.bind(request_id=request_id)
    status = _GONE
    try:
        response = await handler(request)
        status = response.status
    finally:
        _log_served(request, status, (time.perf_counter() - started_s) * 1000)
        structlog.contextvars.reset_contextvars(**bound)
    return response


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into an answer. What nobody foresaw is logged with its trace and told as a 500."""
    try:
        return await handler(request)
    except Problem as problem:
        return problems.answer(problem)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problems.answer(problems.from_http(error))
    except ConnectionError:
        raise
    except HyperionError as error:
        problem_or_none = problems.from_error(error)
        return problems.answer(problem_or_none) if problem_or_none else _failed(request)
    except Exception:  # noqa: BLE001  (where a request ends)
        return _failed(request)


async def complete_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add to every answer what belongs on every answer; what a handler has set stays."""
    request[_STARTED_KEY] = True
    headers = response.headers
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers[hdrs.SERVER] = SECURITY_HEADERS[hdrs.SERVER]  # aiohttp has told its own version and Python's by now
    if not request.app[SETTINGS].dev:
        headers.setdefault(hdrs.STRICT_TRANSPORT_SECURITY, HSTS)
    headers[hdrs.VARY] = hdrs.ORIGIN
    headers.update(origins.cors_headers(request))
    headers.setdefault(REQUEST_ID, request.get(_REQUEST_ID_KEY, ""))


def _failed(request: web.Request) -> web.StreamResponse:
    log.error("request.failed", method=request.method, route=_template(request), exc_info=True)
    if request.get(_STARTED_KEY) and request.transport is not None:
        # Half an answer is out already: only a cut line tells the client that it is no whole one.
        request.transport.abort()
    return problems.answer(Problem(500, "internal", "Something went wrong on our side."))


def _log_served(request: web.Request, status: int, duration_ms: float) -> None:
    route = _template(request)
    write = log.debug if route in _QUIET else log.info
    write("request.served", method=request.method, route=route, status=status, duration_ms=round(duration_ms, 1))


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"
