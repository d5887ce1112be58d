"""The bytes of a batch as files, on their way from the database or a folder into the store."""

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from hyperion.actors.batching import Step
from hyperion.db import Database
from hyperion.errors import PhotoMissing
from hyperion.media import photos
from hyperion.media.store import Item, Layered, Store


class Spool:
    """One folder, and in it one for each batch. `patiently` is how the actor asks a database that may be away."""

    def __init__(
        self,
        folder: Path,
        db: Database,
        store: Store,
        *,
        patiently: Callable[[Callable[[], Coroutine[Any, Any, bool]]], Awaitable[bool]],
    ) -> None:
        self._folder = folder
        self._db = db
        self._store = store
        self._patiently = patiently

    def make_empty(self) -> None:
        """Remove what killed processes left. Raises OSError."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    async def collect(self, batch: Sequence[Step], stack: AsyncExitStack) -> list[tuple[Item, Step]]:
        """Get the bytes of a batch into files, until `stack` is closed; photos that are deleted by now are left out.

        Raises OSError.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: a commit that was given up may still read from that of the batch before.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True)))
        puts = []
        for number, step in enumerate(batch):
            if step.is_delete:
                continue
            source = await self._source_of(step, folder / str(number), stack)
            if source is not None:
                puts.append((Item(step.path, source), step))
        return puts

    async def _source_of(self, step: Step, target: Path, stack: AsyncExitStack) -> Path | None:
        assert step.media_id is not None
        media_id = step.media_id
        if not step.is_move:
            return target if await self._patiently(lambda: photos.copy_blob(self._db, media_id, target)) else None
        assert isinstance(self._store, Layered)
        with suppress(PhotoMissing):  # it was moved before
            return await stack.enter_async_context(self._store.behind.local_copy(step.path))
        return None
