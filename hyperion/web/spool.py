"""Temporary files: a folder for each request, which goes with it."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from hyperion.web.problems import unavailable


class Spool:
    """Hands out at most `limit` temporary folders at once, under `root`."""

    def __init__(self, root: Path, *, limit: int) -> None:
        self._root = root
        self._limit = limit
        self._in_use = 0

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """Give an empty folder for the time of the block. Raises Problem 503 when all are in use."""
        if self._in_use >= self._limit:
            raise unavailable("busy", "Too many transfers at once.")
        self._in_use += 1
        try:
            path = Path(await asyncio.to_thread(self._make))
            try:
                yield path
            finally:
                # Not awaited: a cancelled request must not leave its files either.
                shutil.rmtree(path, ignore_errors=True)
        finally:
            self._in_use -= 1

    def sweep(self, *, older_than_s: float) -> int:
        """Remove folders that a killed process left; return how many."""
        swept = 0
        with suppress(FileNotFoundError):
            for leftover in self._root.iterdir():
                with suppress(FileNotFoundError):
                    if leftover.stat().st_mtime < time.time() - older_than_s:
                        shutil.rmtree(leftover, ignore_errors=True)
                        swept += 1
        return swept

    def _make(self) -> str:
        self._root.mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(dir=self._root)
