"""What lies beneath the requests: the time that a client may take, and answers to what is no request."""

import asyncio
import socket
from typing import Any

import structlog
from aiohttp import hdrs, web

from hyperion import logs
from hyperion.settings import Settings
from hyperion.web import ids, problems
from hyperion.web.keys import SETTINGS
from hyperion.web.middlewares import HSTS, REQUEST_ID, SECURITY_HEADERS
from hyperion.web.problems import Problem

log = logs.get_logger()

KEEPALIVE_S = 75.0  # longer than proxies keep theirs, or they would send into a connection that closes
LINGER_S = 5.0


class Runner(web.AppRunner):
    """Runs the application, its connections being ours."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, handle_signals=False, access_log=None, **options)

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self.app[SETTINGS])


class _Server(web.Server):
    def __init__(self, plain: web.Server, settings: Settings) -> None:
        super().__init__(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=plain.handler_cancellation,
        )
        self._settings = settings

    def __call__(self) -> "Connection":
        return Connection(self, self._settings)


class Connection(web.RequestHandler):
    """A client's connection, which is cut when the client takes longer than HYPERION_REQUEST_TIMEOUT_S.

    That is: for a request's head from its first byte on (aiohttp alone would wait as long as it does
    for the next request), and for taking any of what was sent to it. A body's time is its reader's
    affair. What cannot be read is answered like every other error, not as plain text that repeats it.
    """

    __slots__ = ("_head_due", "_is_secure", "_patience_s")

    def __init__(self, manager: web.Server, settings: Settings) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as AppRunner does
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
        )
        self._patience_s = settings.request_timeout_s
        self._is_secure = not settings.dev
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect the first head, and have the kernel give up on a client that takes nothing."""
        super().connection_made(transport)
        endpoint = transport.get_extra_info("socket")
        if endpoint is not None and endpoint.family in (socket.AF_INET, socket.AF_INET6):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._patience_s * 1000))
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop to expect anything."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the clock of a head runs from its first byte to its last."""
        super().data_received(data)
        if self._waiter is None or self._waiter.done():  # a request is there, this was its body or the next
            self._forget_head()
        elif self._head_due is None:
            self._expect_head()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer. What aiohttp refuses before the application is asked gets a body like other errors."""
        if isinstance(resp, web.HTTPException):
            with structlog.contextvars.bound_contextvars(request_id=ids.request_id()):
                resp = self._answer(problems.from_http(resp))
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read, or what failed outside of the application.

        Nothing of `exc` is logged for the first: it repeats what was sent, which may be a token.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        with structlog.contextvars.bound_contextvars(request_id=ids.request_id()):
            if status < 500:
                log.info("request.unreadable", reason=type(exc).__name__)
                response = self._answer(Problem(status, "unreadable", "This is no well-formed HTTP request."))
            else:
                log.error("request.failed", method=request.method, route="unmatched", exc_info=exc)
                response = self._answer(Problem(500, "internal", "Something went wrong on our side."))
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is out already")
        response.force_close()
        return response

    def _answer(self, problem: Problem) -> web.Response:
        """Return the answer, with what the application adds to its own."""
        response = problems.answer(problem)
        request_id = structlog.contextvars.get_contextvars()["request_id"]
        response.headers.update(SECURITY_HEADERS | {hdrs.VARY: hdrs.ORIGIN, REQUEST_ID: request_id})
        if self._is_secure:
            response.headers[hdrs.STRICT_TRANSPORT_SECURITY] = HSTS
        return response

    def _expect_head(self) -> None:
        self._head_due = asyncio.get_running_loop().call_later(self._patience_s, self._cut_off)

    def _forget_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _cut_off(self) -> None:
        log.debug("connection.cut_off")
        self.force_close()
