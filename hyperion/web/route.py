"""A route as data: what it is called, what it takes and what it answers, all read off its handler.

A handler is a coroutine function whose parameters say what it needs: `request` always, `session`
for signed-in users, `query` and `body` with the struct to read. What it returns is the answer: a
struct, or a response of its own, in which case the route names the struct or media type.
"""

import types
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args, get_type_hints

import msgspec
from aiohttp import web

from hyperion.web import reading, sessions
from hyperion.web.sessions import Session

Handler = Callable[..., Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an answer has in it: a struct as JSON, another media type, or (None) nothing; and which headers besides."""

    kind: Any = None
    media_type: str | None = "application/json"
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """One method of one path, complete enough to serve it and to describe it.

    `status` is that of success. `faults` are the errors beyond those that follow from what the
    handler takes; `others` are answers that look neither like success nor like a problem. `files`
    names the field of a multipart body that the handler reads by itself.
    """

    method: str
    path: str
    handler: Handler
    status: int = 200
    faults: tuple[int, ...] = ()
    answer: Answer | None = None
    others: Mapping[int, Answer] = field(default_factory=dict)
    files: str | None = None
    admit: Callable[[web.Request], Awaitable[Session]] = sessions.authenticate
    needs_database: bool = True

    @cached_property
    def takes(self) -> dict[str, Any]:
        """The types of the handler's parameters, by name."""
        return {name: kind for name, kind in get_type_hints(self.handler).items() if name != "return"}

    @cached_property
    def body(self) -> tuple[Any, bool] | None:
        """The struct that the JSON body is read into, and whether there must be one."""
        kind = self.takes.get("body")
        if isinstance(kind, types.UnionType):  # `Body | None`: it may be left out
            return next(choice for choice in get_args(kind) if choice is not types.NoneType), False
        return None if kind is None else (kind, True)

    @cached_property
    def answers(self) -> Answer:
        """What success looks like."""
        return self.answer or Answer(kind=get_type_hints(self.handler)["return"])

    @property
    def needs_session(self) -> bool:
        """Whether only signed-in users may call it."""
        return "session" in self.takes

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Read what the handler takes, in the order that gives strangers the least: session, query, body."""
        arguments: dict[str, object] = {}
        if self.needs_session:
            arguments["session"] = await self.admit(request)
        if "query" in self.takes:
            arguments["query"] = reading.read_query(request, self.takes["query"])
        if self.body:
            kind, is_required = self.body
            is_there = is_required or reading.has_body(request)
            arguments["body"] = await reading.read_json(request, kind) if is_there else None
        result = await self.handler(request, **arguments)
        return result if isinstance(result, web.StreamResponse) else json_response(result, status=self.status)


def json_response(value: object, *, status: int = 200) -> web.Response:
    """Return `value`, a struct, as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
