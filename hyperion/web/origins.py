"""Which other sites may use the API from a browser: CORS, and the check that needs no cooperation."""

from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from hyperion.web.keys import SETTINGS
from hyperion.web.problems import Problem

METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Request-ID"
EXPOSED = "ETag, Retry-After, X-Request-ID"
PREFLIGHT_LIFE_S = "600"
SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS, hdrs.METH_TRACE})


@web.middleware
async def guard_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflights, and refuse what another site's page sends before anything happens.

    The cookie travels cross-site, so CORS alone would only keep the other page from reading the answer.
    """
    if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
        require_allowed(request)
        return web.Response(
            status=204,
            headers={
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: HEADERS,
                hdrs.ACCESS_CONTROL_MAX_AGE: PREFLIGHT_LIFE_S,
            },
        )
    if request.method not in SAFE:
        require_allowed(request)
    return await handler(request)


def require_allowed(request: web.Request) -> None:
    """Raise Problem 403 for a request that a browser sends for a page of a site that is not allowed.

    Browsers always say so; what has neither header is no browser, and carries no stolen cookie.
    """
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        is_allowed = request.headers.get("Sec-Fetch-Site", "").lower() != "cross-site"
    else:
        is_allowed = _is_listed(request, origin) or _is_own(request, origin)
    if not is_allowed:
        raise Problem(403, "foreign_origin", "Requests from this site are not allowed.")


def cors_headers(request: web.Request) -> dict[str, str]:
    """Return what lets an allowed site's page read the answer; for others nothing."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or not _is_listed(request, origin):
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS: "true",
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED,
    }


def _is_listed(request: web.Request, origin: str) -> bool:
    return origin in request.app[SETTINGS].frontend_urls


def _is_own(request: web.Request, origin: str) -> bool:
    """Tell whether the page is one of ours. Behind a proxy only the host of our own URL is known."""
    parts = urlsplit(origin)
    return parts.netloc == request.host and parts.scheme in (
        ("http", "https") if request.app[SETTINGS].dev else ("https",)
    )
