"""A store in a folder of this machine."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hyperion.errors import PhotoMissing, StoreUnavailable
from hyperion.media.store.interface import Item, Limits
from hyperion.media.store.paths import parts_of

_TEMPORARY_PREFIX = ".put-"
_COPY_BYTES = 1 << 20
_FOLDER_TRIES = 20
BATCH_BYTES = 1 << 30


class LocalStore:
    """A store in the folder `root`, which is made if need be.

    A put writes a temporary file beside its target, syncs and renames it, so that a reader or a
    crash sees a whole photo or none. Blocking calls run in threads. Raises StoreUnavailable when
    the folder cannot be made, as for every other refusal of the file system later on.
    """

    name = "local"
    is_near = True

    def __init__(self, root: Path, *, batch: int = 100) -> None:
        self._root = root.absolute()
        self.limits = Limits(files=batch, most_files=batch, size_bytes=BATCH_BYTES, most_bytes=BATCH_BYTES)
        with self._faults_translated():
            self._root.mkdir(parents=True, exist_ok=True)

    async def apply(self, puts: Sequence[Item], deletes: Sequence[str], *, is_doubtful: bool = False) -> None:
        """Store, then remove; see Store."""
        if puts:
            await self.put_many(puts)
        if deletes:
            await self.delete_many(deletes)

    async def put_many(self, items: Sequence[Item]) -> None:
        """Store every item; see Store. Folders are synced once for all items."""
        await asyncio.to_thread(self._put_all, items)

    async def delete_many(self, paths: Sequence[str]) -> None:
        """Remove every path, and the folders that are empty after it; see Store."""
        await asyncio.to_thread(self._delete_all, paths)

    @asynccontextmanager
    async def local_copy(self, path: str) -> AsyncIterator[Path]:
        """Give the stored file itself; see Store."""
        target = self._place(path)
        if not await asyncio.to_thread(self._has, target):
            raise PhotoMissing(path)
        yield target

    def public_url(self, path: str) -> str | None:
        """Return None: files of this machine have no address of their own."""
        return None

    async def sweep(self, *, older_than_s: float = 3600.0) -> int:
        """Remove temporary files that killed processes left, once they are `older_than_s` old.

        Returns how many were removed; folders that are empty go as well. Raises StoreUnavailable.
        """
        return await asyncio.to_thread(self._sweep, time.time() - older_than_s)

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def has(self, path: str) -> bool:
        """Tell whether a file is there, without the fuss of `local_copy`."""
        return self._place(path).is_file()

    def paths(self) -> Iterator[str]:
        """List what is stored, folder by folder. Raises StoreUnavailable."""
        with self._faults_translated():
            self._check_root()
            for folder, folders, names in os.walk(self._root):
                folders.sort()
                yield from (
                    str(Path(folder, name).relative_to(self._root))
                    for name in sorted(names)
                    if not name.startswith(_TEMPORARY_PREFIX)
                )

    def _place(self, path: str) -> Path:
        return self._root.joinpath(*parts_of(path))

    def _put_all(self, items: Sequence[Item]) -> None:
        placed = [(self._place(item.path), item.source) for item in items]
        for target, source in placed:
            with source.open("rb") as content, self._faults_translated():
                _put(target, content)
        with self._faults_translated():
            self._sync_folders_of(target for target, _ in placed)

    def _delete_all(self, paths: Sequence[str]) -> None:
        targets = [self._place(path) for path in paths]
        with self._faults_translated():
            self._check_root()
            for target in targets:
                with suppress(FileNotFoundError, NotADirectoryError):
                    target.unlink()
                self._prune(target.parent)
            self._sync_folders_of(targets)

    def _has(self, target: Path) -> bool:
        with self._faults_translated():
            self._check_root()
            return target.is_file()

    def _sweep(self, before_unix_s: float) -> int:
        removed = 0
        with self._faults_translated():
            self._check_root()
            # os.walk passes over folders that vanish meanwhile; Path.rglob raises.
            for folder, _, names in os.walk(self._root, topdown=False):
                for name in names:
                    if name.startswith(_TEMPORARY_PREFIX):
                        removed += _removed_if_older(Path(folder, name), before_unix_s)
                self._prune(Path(folder))
        return removed

    def _check_root(self) -> None:
        if not self._root.is_dir():
            # An unmounted disk must not look like a store from which every photo has vanished.
            raise StoreUnavailable(f"the photo store {self._root} is not there")

    def _prune(self, folder: Path) -> None:
        """Remove `folder` and those above it as long as they are empty, never the root."""
        with suppress(OSError):
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent

    def _sync_folders_of(self, targets: Iterable[Path]) -> None:
        """Make new and removed entries durable, also those of folders that others just made."""
        folders = {folder for target in targets for folder in target.parents if folder.is_relative_to(self._root)}
        for folder in sorted(folders, reverse=True):
            with suppress(FileNotFoundError, NotADirectoryError):
                _sync_folder(folder)

    @contextmanager
    def _faults_translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise StoreUnavailable(f"the photo store {self._root} fails: {fault.strerror or fault}") from fault


def _put(target: Path, content: BinaryIO) -> None:
    temporary = _written_beside(target, content)
    try:
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _written_beside(target: Path, content: BinaryIO) -> Path:
    descriptor, name = _temporary_in(target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file, _COPY_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _temporary_in(folder: Path) -> tuple[int, str]:
    for _ in range(_FOLDER_TRIES):
        # A delete of the folder's last photo may take it away between these two, and within mkdir,
        # which then says that it exists.
        with suppress(FileNotFoundError, FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
            return tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, dir=folder)
    raise StoreUnavailable(f"the folder {folder} cannot be made, or vanishes as often as it is")


def _removed_if_older(leftover: Path, before_unix_s: float) -> bool:
    with suppress(FileNotFoundError):
        if leftover.stat().st_mtime < before_unix_s:
            leftover.unlink()
            return True
    return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
