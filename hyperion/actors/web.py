"""The web actor: serves the HTTP and WebSocket interface."""

import asyncio
from typing import ClassVar

from aiohttp import web

from hyperion import logs
from hyperion.actors.actor import Actor
from hyperion.actors.specs import Life
from hyperion.media.store import LocalStore
from hyperion.settings import Settings
from hyperion.web.app import make_app, watch
from hyperion.web.connection import Runner

log = logs.get_logger()

DRAIN_S = 3.0


class Web(Actor):
    """One HTTP server. On stop it closes its sockets with 1001 and lets requests finish."""

    max_connections: ClassVar[int] = 16
    index_plans: ClassVar[bool] = False

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self._app = make_app(settings, self.db, self.wakeup, LocalStore(settings.store_dir), boot=life.boot)

    async def work(self) -> None:
        """Serve until drained or cancelled."""
        runner = Runner(self._app, shutdown_timeout=DRAIN_S)
        await runner.setup()
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
