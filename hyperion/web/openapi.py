"""The OpenAPI document, made of the routes and the structs that requests are read into and answers made of."""

import inspect
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec

from hyperion.web.origins import SAFE
from hyperion.web.problems import CONTENT_TYPE, ProblemBody
from hyperion.web.route import Answer, Route
from hyperion.web.sessions import COOKIE

Json = dict[str, Any]

ABOUT = """Photos of litter: upload them, watch them being analysed, see them on a map.

Errors are `application/problem+json` (RFC 9457): `code` is for programs, `detail` for people. Times are
ISO 8601 in UTC. Text has no NUL in it. In a query string an empty value counts as left out and unknown names
are ignored. Every GET answers HEAD too; other methods than those listed get 405. Every answer carries
`X-Request-ID`."""

READS_BODY = (400, 408, 413, 415, 422)
FAULTS = {
    400: "The request cannot be read, or contradicts itself or what is there.",
    401: "Nobody is signed in: there is no token, or it is not valid (any more).",
    403: "The request was sent by a page of a site that is not allowed.",
    404: "There is no such photo, or it is somebody else's.",
    408: "The body did not arrive in time.",
    409: "The photo is in a state in which that cannot be done.",
    413: "The body is too large.",
    415: "The body is of another media type than this takes.",
    422: "The request can be read and is not acceptable; `errors` says where.",
    426: "This is a WebSocket, and the request asked for no upgrade.",
    429: "Too often, or too many at once.",
    500: "A bug; the log has more under the request id.",
    503: "The database is away, or too much is going on.",
}
HEADERS: dict[str, Json] = {
    "X-Request-ID": {"description": "Names the request in the logs.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "How to sign in.", "schema": {"type": "string", "const": "Bearer"}},
    "Set-Cookie": {"description": "Sets or clears the token.", "schema": {"type": "string"}},
    "ETag": {"description": "For If-None-Match.", "schema": {"type": "string"}},
}
FAULT_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
SECURITY: dict[str, Json] = {
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Set at login; 30 minutes."},
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The same token."},
    "socketToken": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "For the WebSocket: an access token, or one of POST /api/auth/ws-token, which opens one socket.",
    },
}


def make_document(routes: Sequence[Route]) -> Json:
    """Return the OpenAPI 3.1 document of these routes. Nothing in it is said twice in the code."""
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hyperion", "version": version("hyperion"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {_fault_name(status): _fault(status, schemas) for status in FAULTS},
            "headers": HEADERS,
            "securitySchemes": SECURITY,
        },
    }


def fault_statuses(route: Route) -> list[int]:
    """List the statuses under which a route answers with a problem, by what it takes and declares."""
    found = {500, *route.faults}
    found |= {503} if route.needs_database else set()
    found |= {401} if route.needs_session else set()
    found |= {403} if route.method not in SAFE else set()
    found |= {422} if "query" in route.takes else set()
    found |= set(READS_BODY) if route.body or route.files else set()
    return sorted(found - set(route.others))


class _Schemas:
    """The JSON schemas of all structs that the routes name; those of queries are kept apart."""

    def __init__(self, routes: Iterable[Route]) -> None:
        queries = {route.takes["query"] for route in routes if "query" in route.takes}
        kinds = {ProblemBody, *queries}
        kinds |= {route.body[0] for route in routes if route.body}
        kinds |= {answer.kind for route in routes for answer in (route.answers, *route.others.values())} - {None}
        refs, self.components = msgspec.json.schema_components(
            sorted(kinds, key=str), ref_template="#/components/schemas/{name}"
        )
        self._of: dict[Any, Json] = dict(zip(sorted(kinds, key=str), refs, strict=True))
        self._queries: dict[Any, Json] = {
            kind: self.components.pop(self._of[kind]["$ref"].rpartition("/")[2]) for kind in queries
        }

    def of(self, kind: Any) -> Json:
        """Return the schema of a struct, mostly a reference."""
        return self._of[kind]

    def of_query(self, kind: Any) -> Json:
        """Return the schema of a query's struct itself."""
        return self._queries[kind]


def _operation(route: Route, schemas: _Schemas) -> Json:
    summary, _, more = (inspect.getdoc(route.handler) or "").partition("\n")
    operation: Json = {
        "operationId": route.handler.__name__,
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "summary": summary.removesuffix("."),
        "parameters": [*_path_parameters(route.path), *_query_parameters(route, schemas)],
        "responses": _responses(route, schemas),
    }
    if more:
        operation["description"] = more.strip()
    if route.body:
        kind, is_required = route.body
        operation["requestBody"] = {"required": is_required, "content": _content(schemas.of(kind))}
    if route.files:
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": _form(route.files)}},
        }
    if route.needs_session:
        names = ["cookie", "bearer", *(["socketToken"] if route.status == HTTPStatus.SWITCHING_PROTOCOLS else [])]
        operation["security"] = [{name: []} for name in names]
    return operation


def _path_parameters(path: str) -> list[Json]:
    names = [step.strip("{}") for step in path.split("/") if step.startswith("{")]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}} for name in names
    ]


def _query_parameters(route: Route, schemas: _Schemas) -> list[Json]:
    if "query" not in route.takes:
        return []
    schema = schemas.of_query(route.takes["query"])
    return [
        _query_parameter(name, given, is_required=name in schema["required"])
        for name, given in schema["properties"].items()
    ]


def _query_parameter(name: str, given: Json, *, is_required: bool) -> Json:
    """Return a parameter. It may be left out, but a query string cannot say null."""
    schema = {key: value for key, value in given.items() if key not in ("description", "anyOf")}
    choices = [choice for choice in given.get("anyOf", []) if choice != {"type": "null"}]
    schema |= choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}
    if schema.get("default", "") is None:
        del schema["default"]
    parameter: Json = {"name": name, "in": "query", "required": is_required, "schema": schema}
    description = schema.pop("description", given.get("description"))
    return parameter | ({"description": description} if description else {})


def _form(field: str) -> Json:
    files = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    return {"type": "object", "properties": {field: files}, "required": [field]}


def _responses(route: Route, schemas: _Schemas) -> Json:
    answers = {route.status: route.answers, **route.others}
    shown = {status: _answer(status, answer, schemas) for status, answer in answers.items()}
    shown |= {status: {"$ref": f"#/components/responses/{_fault_name(status)}"} for status in fault_statuses(route)}
    return {str(status): shown[status] for status in sorted(shown)}


def _answer(status: int, answer: Answer, schemas: _Schemas) -> Json:
    response: Json = {
        "description": _says(answer.kind) or HTTPStatus(status).phrase,
        "headers": _headers((*answer.headers, *FAULT_HEADERS.get(status, ()))),
    }
    if status == HTTPStatus.SWITCHING_PROTOCOLS:
        response["description"] = "From here on a WebSocket; the schema `x-frame` is that of each text frame."
        response["x-frame"] = schemas.of(answer.kind)
    elif answer.kind is not None:
        response["content"] = _content(schemas.of(answer.kind), answer.media_type)
    elif answer.media_type is not None:
        kind = {"type": "string"} | ({} if answer.media_type.startswith("text/") else {"format": "binary"})
        response["content"] = _content(kind, answer.media_type)
    return response


def _says(kind: Any) -> str | None:
    return inspect.getdoc(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _fault(status: int, schemas: _Schemas) -> Json:
    headers = _headers(FAULT_HEADERS.get(status, ()))
    content = _content(schemas.of(ProblemBody), CONTENT_TYPE)
    return {"description": FAULTS[status], "headers": headers, "content": content}


def _fault_name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


def _content(schema: Json, media_type: str | None = "application/json") -> Json:
    return {str(media_type): {"schema": schema}}
