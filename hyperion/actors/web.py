"""The web actor: serves the HTTP and WebSocket interface."""

import asyncio
import gc
from typing import ClassVar

from aiohttp import web

from hyperion import logs
from hyperion.actors.actor import Actor
from hyperion.actors.specs import Life
from hyperion.media.store import LocalStore
from hyperion.settings import Settings
from hyperion.web.app import make_app, watch

log = logs.get_logger()

DRAIN_S = 3.0
GARBAGE_EVERY = 10_000  # new objects; Python's 700 are those of one page of photos


class Web(Actor):
    """One HTTP server. On stop it closes its sockets with 1001 and lets requests finish."""

    max_connections: ClassVar[int] = 16
    index_plans: ClassVar[bool] = False

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self._app = make_app(settings, self.db, self.wakeup, LocalStore(settings.store_dir))

    async def work(self) -> None:
        """Serve until drained or cancelled."""
        runner = web.AppRunner(
            self._app, handle_signals=False, access_log=None, shutdown_timeout=DRAIN_S, keepalive_timeout=75
        )
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
