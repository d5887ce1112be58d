"""Errors as the client sees them: one exception, one body (RFC 9457), one table of what means what."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import web

from hyperion.errors import (
    DatabaseUnavailable,
    DetectionGone,
    HyperionError,
    PhotoGone,
    QuotaExceeded,
    StatusConflict,
    StoreUnavailable,
)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
CHALLENGE = {"WWW-Authenticate": "Bearer"}  # every 401 must say how to sign in


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request; `pointer` is a JSON pointer (RFC 6901)."""

    pointer: str
    detail: str


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every answer that is an error."""

    title: str
    status: int
    detail: str
    code: str
    request_id: str
    type: str = "about:blank"
    errors: list[Fault] = msgspec.field(default_factory=list)


class Problem(Exception):
    """An answer that is an error. `code` is stable and for programs, `detail` for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: list[Fault] | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors or []
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


def invalid(pointer: str, detail: str) -> Problem:
    """Return the 422 for one value that was understood and is not acceptable."""
    return Problem(422, "invalid", detail, errors=[Fault(pointer, detail)])


def not_signed_in() -> Problem:
    """Return the 401 for a request without a valid token."""
    return Problem(401, "not_signed_in", "Not signed in", headers=CHALLENGE)


def media_not_found(detail: str = "Media not found") -> Problem:
    """Return the 404 for a photo that does not exist or is somebody else's."""
    return Problem(404, "media_not_found", detail)


def unavailable(code: str, detail: str) -> Problem:
    """Return the 503 for something that is away or used up right now."""
    return Problem(503, code, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def from_error(error: HyperionError) -> Problem | None:
    """Say which answer an error of ours means; None: it should never have come this far."""
    problem: Problem | None = None
    match error:
        case DatabaseUnavailable():
            problem = unavailable("database_unavailable", "The database cannot be reached right now.")
        case StoreUnavailable():
            problem = unavailable("store_unavailable", "The photo store cannot be reached right now.")
        case PhotoGone():
            problem = media_not_found()
        case DetectionGone():
            problem = Problem(409, "detection_gone", f"The photo has no detection {error.detection_id} (any more).")
        case QuotaExceeded():
            problem = Problem(413, "over_quota", str(error))
        case StatusConflict():
            problem = Problem(409, "status_conflict", f"The photo is {error.now} and cannot become {error.wanted} now.")
    return problem


def from_http(error: web.HTTPException) -> Problem:
    """Return the problem for what aiohttp itself refuses: no such route, no such method, too large."""
    phrase = HTTPStatus(error.status).phrase
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(error.status, phrase.lower().replace(" ", "_"), phrase, headers=headers)


def answer(problem: Problem) -> web.Response:
    """Turn a problem into its answer. The request id is the one that is bound for the logs."""
    body = ProblemBody(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        request_id=str(structlog.contextvars.get_contextvars().get("request_id", "")),
        errors=problem.errors,
    )
    shown = {"type": body.type, **msgspec.to_builtins(body), **problem.extra}
    return web.Response(
        status=problem.status,
        body=msgspec.json.encode(shown),
        headers=problem.headers,
        content_type=CONTENT_TYPE,
    )
