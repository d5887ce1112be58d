"""A route as data: what it is called, what it takes and what it answers, all read off its handler.

A handler is a coroutine function whose parameters say what it needs: `request` always, `session`
for signed-in users, `query` and `body` with the struct to read. What it returns is the answer: a
struct, or a response of its own, in which case the route names the struct or media type.
"""

import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_type_hints

import msgspec
from aiohttp import web

from hyperion.web import reading, sessions

Handler = Callable[..., Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a handler that makes its own response answers: a struct as JSON, or another media type."""

    kind: Any = None
    media_type: str = "application/json"


@dataclass(frozen=True)
class Route:
    """One method of one path. `status` is that of success; `faults` are the errors beyond 400, 401, 422 and 503."""

    method: str
    path: str
    handler: Handler
    status: int = 200
    faults: tuple[int, ...] = ()
    answer: Answer | None = None

    @cached_property
    def takes(self) -> dict[str, Any]:
        """The types of the handler's parameters, by name."""
        return {name: kind for name, kind in get_type_hints(self.handler).items() if name != "return"}

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
            arguments["session"] = await sessions.authenticate(request)
        if "query" in self.takes:
            arguments["query"] = reading.read_query(request, self.takes["query"])
        if "body" in self.takes:
            arguments["body"] = await self._read_body(request)
        result = await self.handler(request, **arguments)
        return result if isinstance(result, web.StreamResponse) else json_response(result, status=self.status)

    async def _read_body(self, request: web.Request) -> object:
        kind = self.takes["body"]
        if isinstance(kind, types.UnionType):  # `Body | None`: it may be left out
            if not reading.has_body(request):
                return None
            kind = next(choice for choice in get_args(kind) if choice is not types.NoneType)
        return await reading.read_json(request, kind)


def json_response(value: object, *, status: int = 200) -> web.Response:
    """Return `value`, a struct, as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
