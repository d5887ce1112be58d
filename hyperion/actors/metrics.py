"""The metrics actor: samples the machine, so that its load can be told from rows."""

import asyncio
import time
from collections import deque

from hyperion import logs
from hyperion.actors.actor import Actor
from hyperion.actors.machine import Machine, Sample
from hyperion.actors.mailbox import SQL
from hyperion.actors.specs import Life
from hyperion.errors import DatabaseUnavailable
from hyperion.settings import Settings

log = logs.get_logger()

FIRST_S = 1.0
MOST_WAITING = 360


class Metrics(Actor):
    """Takes one sample of CPU and memory every `sample_s` seconds for its node.

    While the database is away the newest MOST_WAITING samples wait, and are written under the time at
    which they were taken. A batch whose answer was lost is sent again under its number, alone, so that
    no sample counts twice.
    """

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self._machine = Machine(now_s=time.monotonic())
        self._waiting: deque[tuple[float, Sample]] = deque(maxlen=MOST_WAITING)
        self._in_doubt: list[tuple[float, Sample]] = []
        self._number = 0

    async def work(self) -> None:
        """Sample until drained or cancelled."""
        self.mark_ready()
        wait_s = min(FIRST_S, self.settings.sample_s)  # dashboards need not wait for a first one
        while not self.draining.is_set():
            await asyncio.sleep(wait_s)
            wait_s = self.settings.sample_s
            now_s = time.monotonic()
            if sample := self._machine.sample(now_s):
                self.keep(now_s, sample)
            try:
                await self.run_once(now_s)
            except DatabaseUnavailable as error:
                log.warning("metrics.postponed", samples=len(self._waiting) + len(self._in_doubt), reason=str(error))

    def keep(self, now_s: float, sample: Sample) -> None:
        """Let the next `run_once` write this sample; where too many wait, the oldest goes."""
        self._waiting.append((now_s, sample))
        log.debug("machine.sampled", cpu_percent=sample.cpu_percent, memory_percent=sample.memory_percent)

    async def run_once(self, now_s: float) -> int:
        """Write what waits; return how many samples. Raises DatabaseUnavailable."""
        written = 0
        while self._in_doubt or self._waiting:
            if not self._in_doubt:
                self._in_doubt = list(self._waiting)
                self._waiting.clear()
                self._number += 1
            await self._write(now_s)
            written += len(self._in_doubt)
            self._in_doubt = []
        return written

    async def _write(self, now_s: float) -> None:
        samples = [sample for _, sample in self._in_doubt]
        await self.db.execute(
            SQL.sample_machine,
            self.life.node,
            f"boot {self.life.boot}",
            self._number,
            [now_s - taken_at_s for taken_at_s, _ in self._in_doubt],
            [sample.source for sample in samples],
            [sample.covered_s for sample in samples],
            [sample.cpu_percent for sample in samples],
            [sample.memory_percent for sample in samples],
        )
