"""The metrics actor: samples the machine, so that its load can be told from rows."""

import asyncio

import psutil

from hyperion import logs
from hyperion.actors.actor import Actor
from hyperion.actors.mailbox import SQL
from hyperion.errors import DatabaseUnavailable

log = logs.get_logger()


class Metrics(Actor):
    """Writes one sample of CPU and memory every `sample_s` seconds for its node."""

    async def work(self) -> None:
        """Sample until drained or cancelled."""
        psutil.cpu_percent()  # the first call only sets the mark that the next one measures from
        self.mark_ready()
        while not self.draining.is_set():
            await asyncio.sleep(self.settings.sample_s)
            try:
                await self.run_once()
            except DatabaseUnavailable as error:
                log.warning("metrics.sample_lost", reason=str(error))

    async def run_once(self) -> dict[str, float]:
        """Take one sample and write it; return it in percent."""
        sample = {"cpu_percent": psutil.cpu_percent(), "memory_percent": psutil.virtual_memory().percent}
        await self.db.execute(SQL.sample_machine, self.life.node, sample["cpu_percent"], sample["memory_percent"])
        log.debug("machine.sampled", **sample)
        return sample
