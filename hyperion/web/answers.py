"""Answers that stay right until one of the user's photos changes, kept so long and in bounded memory.

The user's row in `feed` has a number that grows with every change of a photo, in the transaction of
the change itself and in the order of the commits. An answer is kept under the number that was read with
the session, before it was made, so it shows at least what that number stands for; who reads a higher one gets a new
answer. Nothing has to be announced, and without the database there is no answer, kept or not.
"""

import functools
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from aiohttp import web
from cachetools import LRUCache

from hyperion.web.route import json_response
from hyperion.web.sessions import Session

ROOM_BYTES = 32 << 20
LARGEST_BYTES = 1 << 20
OVERHEAD_BYTES = 500  # of a key and its place in the cache

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])


class Answers:
    """Bodies by question. Those used least go first when there is no room."""

    def __init__(self) -> None:
        self._kept: LRUCache[Hashable, tuple[int, bytes]] = LRUCache(
            ROOM_BYTES, getsizeof=lambda kept: len(kept[1]) + OVERHEAD_BYTES
        )

    def find(self, question: Hashable, version: int) -> bytes | None:
        """Return the answer that was kept under `version`, or None."""
        kept = self._kept.get(question)
        return kept[1] if kept and kept[0] == version else None

    def keep(self, question: Hashable, version: int, body: bytes) -> None:
        """Keep an answer that was made after `version` was read."""
        if len(body) <= LARGEST_BYTES:
            self._kept[question] = (version, body)


ANSWERS = web.AppKey("answers", Answers)


def kept_while_unchanged(handler: Handler) -> Handler:
    """Ask `handler` only if a photo of the user has changed since it was asked the same.

    For handlers that look at nothing but the session's user, the query and the photos.
    """

    @functools.wraps(handler)
    async def answer(request: web.Request, session: Session, query: Hashable = None) -> web.Response:
        answers = request.app[ANSWERS]
        question = (handler, session.user.id, query)
        version = session.photos_version
        if body := answers.find(question, version):
            return web.Response(body=body, content_type="application/json")
        asked = {} if query is None else {"query": query}
        response = json_response(await handler(request, session=session, **asked))
        assert isinstance(response.body, bytes)
        answers.keep(question, version, response.body)
        return response

    return answer  # type: ignore[return-value]
