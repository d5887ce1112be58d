"""Holds answers against the OpenAPI document: the test client sends every one of them through here."""

import re
from contextlib import suppress
from functools import cache
from typing import Any

import aiohttp
from jsonschema_rs import Draft202012Validator
from msgspec import json

from hyperion.web.openapi import make_document
from hyperion.web.routes import ROUTES

DOCUMENT = json.decode(json.encode(make_document(ROUTES)))


class BreaksTheContract(AssertionError):
    """An answer is none that the document announces."""


async def hold_to_contract(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Compare an answer with the document: status, headers, media type, body. Unknown paths and methods pass."""
    response = await handler(request)
    operation = find_operation(request.method, request.url.path)
    if operation is None:
        return response
    content = b""
    if response.status != 101:
        with suppress(aiohttp.ClientError):  # an answer that is cut off is for the test itself to judge
            content = await response.read()
    fault = find_fault(operation, response.status, dict(response.headers), content, has_body=request.method != "HEAD")
    if fault:
        raise BreaksTheContract(f"{request.method} {request.url.path}: {fault}; {content[:500]!r}")
    return response


def find_operation(method: str, path: str) -> dict[str, Any] | None:
    """Return what the document says of a method of a path; paths without parameters come first."""
    for template in sorted(DOCUMENT["paths"], key=lambda template: "{" in template):
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            operation = DOCUMENT["paths"][template].get(method.lower().replace("head", "get"))
            if operation:
                return dict(operation)
    return None


def find_fault(
    operation: dict[str, Any], status: int, headers: dict[str, str], content: bytes, *, has_body: bool = True
) -> str | None:
    """Say what is wrong with an answer, or None."""
    announced = operation["responses"].get(str(status))
    if announced is None:
        return f"status {status} is not announced"
    if "$ref" in announced:
        announced = resolve(announced["$ref"])
    given = {name.lower() for name in headers}
    missing = [name for name in announced["headers"] if name.lower() not in given]
    if missing:
        return f"header {missing} is missing"
    if not has_body or "content" not in announced:
        return None
    [(media_type, kind)] = announced["content"].items()
    sent = next(value for name, value in headers.items() if name.lower() == "content-type").partition(";")[0]
    if not re.fullmatch(re.escape(media_type).replace(r"\*", ".+"), sent):
        return f"{sent} is not {media_type}"
    if not sent.endswith("json"):
        return None
    fault = next(validator(json.encode(kind["schema"]).decode()).iter_errors(json.decode(content)), None)
    return None if fault is None else f"{'/'.join(map(str, fault.instance_path))}: {fault.message}"


def resolve(reference: str) -> dict[str, Any]:
    """Return what a reference within the document leads to."""
    found = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


@cache
def validator(schema: str) -> Draft202012Validator:
    """Return a validator of a schema of the document, with its formats."""
    whole = json.decode(schema) | {"components": DOCUMENT["components"]}
    return Draft202012Validator(whole, validate_formats=True)
