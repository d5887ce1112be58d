"""The web actor: serves the HTTP and WebSocket interface."""

import asyncio
import gc
from typing import ClassVar

from aiohttp import web

from hyperion import logs
from hyperion.actors.actor import Actor
from hyperion.actors.specs import Life
from hyperion.media.store import make_store
from hyperion.settings import Settings
from hyperion.web.app import make_app, watch
from hyperion.web.connection import Runner
from hyperion.web.updates import OPEN_SOCKETS

log = logs.get_logger()

DRAIN_S = 3.0
GARBAGE_EVERY = 10_000  # new objects; Python's 700 are those of one page of photos


class Web(Actor):
    """One HTTP server. On stop it closes its sockets with 1001 and lets requests finish."""

    max_connections: ClassVar[int] = 16
    index_plans: ClassVar[bool] = False

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self._store = make_store(settings)
        self._app = make_app(settings, self.db, self.wakeup, self._store, boot=life.boot)

    def open_sockets(self) -> int:
        """Return how many clients follow their photos."""
        return len(self._app[OPEN_SOCKETS])

    async def work(self) -> None:
        """Serve until drained or cancelled."""
        runner = Runner(self._app, shutdown_timeout=DRAIN_S)
        await runner.setup()
        gc.freeze()  # what is there by now stays, and need not be looked through again and again
        gc.set_threshold(GARBAGE_EVERY)
        try:
            site = web.TCPSite(runner, self.settings.host, self.settings.port, backlog=1024)
            await site.start()
            log.info("web.listening", host=self.settings.host, port=self.settings.port)
            self.mark_ready()
            await self._serve()
        finally:
            await runner.cleanup()
            await self._store.close()

    async def _serve(self) -> None:
        """Wait until drained; fail as soon as what feeds the open sockets fails."""
        draining = asyncio.create_task(self.draining.wait())
        watching = asyncio.create_task(watch(self._app))
        try:
            await asyncio.wait({draining, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            draining.cancel()
            watching.cancel()
            await asyncio.gather(draining, watching, return_exceptions=True)
