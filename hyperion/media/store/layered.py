"""Two stores as one, while photos move from a folder of this machine to another store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from hyperion.errors import PhotoMissing
from hyperion.media.store.interface import Item, Store
from hyperion.media.store.local import LocalStore


class Layered:
    """Puts go to `front`; what is not there yet is read from `behind`; deletes go to both."""

    def __init__(self, front: Store, behind: LocalStore) -> None:
        self.name = front.name
        self.is_near = front.is_near
        self.limits = front.limits
        self.behind = behind
        self._front = front

    async def apply(self, puts: Sequence[Item], deletes: Sequence[str], *, is_doubtful: bool = False) -> None:
        """Change the front, then delete behind; see Store."""
        await self._front.apply(puts, deletes, is_doubtful=is_doubtful)
        if deletes:
            await self.behind.delete_many(deletes)

    async def put_many(self, items: Sequence[Item]) -> None:
        """Put into the front; see Store."""
        await self._front.put_many(items)

    async def delete_many(self, paths: Sequence[str]) -> None:
        """Delete in both; see Store."""
        await self.apply((), paths)

    @asynccontextmanager
    async def local_copy(self, path: str) -> AsyncIterator[Path]:
        """Give the file behind where it still is there, else the front's; see Store."""
        async with AsyncExitStack() as stack:
            try:
                copy = await stack.enter_async_context(self.behind.local_copy(path))
            except PhotoMissing:
                copy = await stack.enter_async_context(self._front.local_copy(path))
            yield copy

    def public_url(self, path: str) -> str | None:
        """Return the front's URL; None while the photo is behind, where our own route serves it."""
        return None if self.behind.has(path) else self._front.public_url(path)

    async def sweep(self) -> int:
        """Sweep both; see Store."""
        return await self._front.sweep() + await self.behind.sweep()

    async def close(self) -> None:
        """Close both; see Store."""
        await self._front.close()
        await self.behind.close()
