"""What a request says, read into declared structs: bodies, query strings, ids in paths."""

import asyncio
import json
import math
import re
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from hyperion.web.keys import SETTINGS
from hyperion.web.problems import Problem, invalid, media_not_found

T = TypeVar("T")

JSON_LIMIT_BYTES = 64 << 10
UNREADABLE = (RequestPayloadError, HttpProcessingError)
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(\w+)`")


async def read_json(request: web.Request, kind: type[T]) -> T:
    """Read a JSON body of at most 64 KiB, unpacked, into `kind`.

    Raises Problem: 415 for another type or charset, 413 when too large, 408 when it trickles, 400
    when it is no JSON, 422 when it is not what `kind` asks for.
    """
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise Problem(415, "unsupported_media_type", "The body must be application/json in UTF-8.")
    text = await _bounded_body(request)
    try:
        value = msgspec.json.decode(text, type=kind)
        json.loads(text, object_pairs_hook=_without_repetition)
    except msgspec.ValidationError as fault:
        raise _translated(fault) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Problem(400, "malformed_json", "The body is not well-formed JSON.") from None
    _check_text(msgspec.to_builtins(value), "")
    return value


def read_query(request: web.Request, kind: type[T]) -> T:
    """Read the query string into `kind`. Empty values count as left out, unknown names are ignored.

    Raises Problem 422.
    """
    given = request.query
    values = {name: value for name, value in given.items() if value}
    for name in values:
        if name in getattr(kind, "__struct_fields__", ()) and len(given.getall(name)) > 1:
            raise invalid(f"/{name}", f"`{name}` may be given only once.")
    try:
        query = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as fault:
        raise _translated(fault) from None
    for name in values:
        if getattr(query, name, name) is None:  # msgspec reads the word null as nothing; nothing is an empty value
            raise invalid(f"/{name}", "`null` is not a value; leave it out.")
    _check_text(msgspec.to_builtins(query), "")
    return query


def media_id(request: web.Request, *, not_found: str = "Media not found") -> UUID:
    """Return the photo's id from the path. What is no UUID gets the answer of an unknown one."""
    return parse_media_id(request.match_info["id"], not_found=not_found)


def parse_media_id(text: str, *, not_found: str = "Media not found") -> UUID:
    """Return the id that `text` spells in the usual way. Raises Problem 404."""
    try:
        parsed = UUID(text)
    except ValueError:
        raise media_not_found(not_found) from None
    if str(parsed) != text.lower():
        raise media_not_found(not_found)
    return parsed


def has_body(request: web.Request) -> bool:
    """Tell whether the request brings a body that is not empty."""
    return request.can_read_body and request.content_length != 0


async def _bounded_body(request: web.Request) -> bytes:
    too_large = Problem(413, "too_large", f"The body may have at most {JSON_LIMIT_BYTES} bytes.")
    if (request.content_length or 0) > JSON_LIMIT_BYTES:
        raise too_large
    within_s = request.app[SETTINGS].request_timeout_s
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            # What is counted is unpacked already, so a gzip bomb ends here too.
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > JSON_LIMIT_BYTES:
                    raise too_large
    except TimeoutError:
        raise Problem(408, "too_slow", f"The body did not arrive within {within_s:g} s.") from None
    except UNREADABLE:
        raise Problem(400, "unreadable_body", "The body cannot be read as its headers describe it.") from None
    return bytes(body)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a key twice: which of the two counts depends on the reader."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key is repeated")
    return unique


def _translated(fault: msgspec.ValidationError) -> Problem:
    match = _PLACE.match(str(fault))
    assert match
    what = match["what"]
    missing = _MISSING.search(what)
    steps = [step for step in re.split(r"[.\[\]]+", match["path"] or "") if step]
    steps += [missing[1]] if missing else []
    return invalid("".join(f"/{step}" for step in steps), what)


def _check_text(value: object, pointer: str) -> None:
    """Refuse text that Postgres cannot keep and numbers that are none, wherever they are."""
    if isinstance(value, str):
        if "\0" in value:
            raise invalid(pointer, "Text must not contain NUL characters.")
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise invalid(pointer, "Text must not contain lone surrogates.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise invalid(pointer, "Numbers must be finite.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(item, f"{pointer}/{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_text(item, f"{pointer}/{number}")
