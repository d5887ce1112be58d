"""A photo's bytes as a file, wherever they lie: on this machine, in the database, far away."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from hyperion.errors import PhotoMissing, StoreUnavailable
from hyperion.media.photos import Photo
from hyperion.media.store import Store

CopyBlob = Callable[[Photo, Path], Awaitable[bool]]


class PhotoFile:
    """Gives one photo at a time to the worker `label`.

    Its two names in `folder` are the same for all lives of the worker: whoever is killed leaves nothing
    that piles up. They are two because what is written to one must never be written into the store.
    """

    def __init__(self, folder: Path, label: str, store: Store) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.copy = folder / f"{label}.photo"
        self.link = folder / f"{label}.stored"
        self._store = store

    @asynccontextmanager
    async def of(self, photo: Photo, copy_blob: CopyBlob) -> AsyncIterator[Path]:
        """Give a file with the photo's bytes for the time of the block.

        `copy_blob` writes them to a file from the database, and tells whether they were there. Raises
        PhotoMissing where they are nowhere, StoreUnavailable.
        """
        async with AsyncExitStack() as stack:
            for name in (self.copy, self.link):
                stack.callback(name.unlink, missing_ok=True)
            yield await self._located(photo, copy_blob, stack)

    async def _located(self, photo: Photo, copy_blob: CopyBlob, stack: AsyncExitStack) -> Path:
        if self._store.is_near:
            with suppress(PhotoMissing, StoreUnavailable):
                return self._linked(await stack.enter_async_context(self._store.local_copy(photo.store_path)))
        if await copy_blob(photo, self.copy):
            return self.copy
        return await stack.enter_async_context(self._store.local_copy(photo.store_path))

    def _linked(self, stored: Path) -> Path:
        """Give a stored file a second name, since the photo may be deleted while it is looked at.

        Where that is not possible, on another file system say, its own will do.
        """
        self.link.unlink(missing_ok=True)
        try:
            self.link.hardlink_to(stored)
        except FileNotFoundError as gone:
            raise PhotoMissing(str(stored)) from gone
        except OSError:
            return stored
        return self.link
