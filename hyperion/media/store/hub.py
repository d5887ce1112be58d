"""A store in a dataset repository of the Hugging Face Hub."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from hyperion.errors import PhotoMissing, StoreUnavailable
from hyperion.media.store.hub_client import BRANCH, HubClient, Repository
from hyperion.media.store.hub_faults import fault_of
from hyperion.media.store.interface import Item, Limits
from hyperion.media.store.one_thread import OneThread
from hyperion.media.store.paths import parts_of

if TYPE_CHECKING:
    import httpx2


DOWNLOADS_AT_ONCE = 4
LEFTOVER_S = 3600.0
_CHUNK_BYTES = 1 << 18
_PREFIX = "fetched-"


class HubStore:
    """Writes by the Hub's own library in one thread, reads over plain HTTP.

    `spool` is where photos are put that somebody reads.
    """

    is_near = False

    def __init__(self, repository: Repository, *, limits: Limits, spool: Path) -> None:
        self.name = f"hub:{repository.id}"
        self.limits = limits
        self._repository = repository
        self._spool = spool
        self._client = HubClient(repository)
        self._thread = OneThread("hub")
        self._reader: httpx2.AsyncClient | None = None
        self._reading = asyncio.Semaphore(DOWNLOADS_AT_ONCE)

    async def apply(self, puts: Sequence[Item], deletes: Sequence[str], *, is_doubtful: bool = False) -> None:
        """Put and delete in one commit; see Store."""
        for path in (*(item.path for item in puts), *deletes):
            parts_of(path)
        for item in puts:
            if not item.source.is_file():
                raise FileNotFoundError(item.source)
        try:
            await self._thread.run(lambda: self._commit(puts, deletes, is_doubtful=is_doubtful))
        except (StoreUnavailable, FileNotFoundError):
            raise
        except Exception as error:
            if (fault := fault_of(error)) is not None:
                raise fault from error
            raise

    async def put_many(self, items: Sequence[Item]) -> None:
        """Put every item in one commit; see Store."""
        await self.apply(items, ())

    async def delete_many(self, paths: Sequence[str]) -> None:
        """Delete every path in one commit; see Store."""
        await self.apply((), paths)

    @asynccontextmanager
    async def local_copy(self, path: str) -> AsyncIterator[Path]:
        """Fetch the photo into a temporary file; see Store."""
        parts_of(path)
        with ExitStack() as stack:
            try:
                self._spool.mkdir(parents=True, exist_ok=True)
                folder = stack.enter_context(tempfile.TemporaryDirectory(dir=self._spool, prefix=_PREFIX))
                target = Path(folder, "photo")
                async with self._reading:
                    await self._fetch(path, target)
            except OSError as error:
                raise StoreUnavailable(f"{self._spool} does not take {path}: {error.strerror or error}") from error
            yield target

    def public_url(self, path: str) -> str | None:
        """Return the Hub's own address of the photo, unless the repository is private."""
        return None if self._repository.is_private else self._url(path)

    async def sweep(self) -> int:
        """Remove fetched files of killed processes, once they are an hour old."""
        return await asyncio.to_thread(self._sweep, time.time() - LEFTOVER_S)

    async def close(self) -> None:
        """Close the connections of readers; see Store."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.aclose()

    def _commit(self, puts: Sequence[Item], deletes: Sequence[str], *, is_doubtful: bool) -> None:
        summary = " and ".join(
            f"{verb} {len(paths)} photo{'s' * (len(paths) != 1)}"
            for verb, paths in (("Add", puts), ("Remove", deletes))
            if paths
        )
        self._client.commit(puts, deletes, summary=summary, description=f"Batch {uuid4()}", is_doubtful=is_doubtful)

    def _url(self, path: str) -> str:
        return f"{self._repository.endpoint}/datasets/{self._repository.id}/resolve/{BRANCH}/{quote(path)}"

    async def _fetch(self, path: str, target: Path) -> None:
        import httpx2  # noqa: PLC0415  (by those who read from the Hub, not by all)

        if self._reader is None:
            timeouts = httpx2.Timeout(self._repository.timeout_s, connect=self._repository.connect_timeout_s)
            self._reader = httpx2.AsyncClient(follow_redirects=True, timeout=timeouts)
        # Where the Hub sends on to another host the token stays behind: the client sees to that.
        headers = {"Authorization": f"Bearer {self._repository.token}", "Accept-Encoding": "identity"}
        try:
            async with self._reader.stream("GET", self._url(path), headers=headers) as response:
                _check(path, response.status_code, response.headers)
                _check_whole(path, [*response.history, response], await _receive(response, target))
        except httpx2.HTTPError as error:
            raise StoreUnavailable(f"the Hub does not give {path}: {type(error).__name__}: {error}") from error

    def _sweep(self, before_unix_s: float) -> int:
        removed = 0
        for leftover in self._spool.glob(f"{_PREFIX}*/photo"):
            with suppress(FileNotFoundError):
                if leftover.stat().st_mtime < before_unix_s:
                    leftover.unlink()
                    leftover.parent.rmdir()
                    removed += 1
        return removed


def _check(path: str, status: int, headers: "httpx2.Headers") -> None:
    if status == 404 and headers.get("x-error-code") == "EntryNotFound":
        raise PhotoMissing(path)
    if status != 200:
        said = headers.get("x-error-message", "")
        raise StoreUnavailable(f"the Hub answers {status} to a request for {path} {said}".rstrip())


def _check_whole(path: str, answers: "Sequence[httpx2.Response]", size_bytes: int) -> None:
    """Make sure that it is the Hub who sent this, or sent us on, and that it is as long as it says.

    A proxy's page in its place must not be taken for a photo that cannot be decoded.
    """
    by_hub = next((answer.headers for answer in answers if "x-repo-commit" in answer.headers), None)
    if by_hub is None:
        raise StoreUnavailable(f"the answer to a request for {path} is not the Hub's")
    announced = by_hub.get("x-linked-size", str(size_bytes))
    if announced != str(size_bytes):
        raise StoreUnavailable(f"the Hub gives {size_bytes} bytes for {path}, not {announced}")


async def _receive(response: "httpx2.Response", target: Path) -> int:
    """Write the body to `target`; return its size. One that is cut short raises the client's own error."""
    size_bytes = 0
    with target.open("wb") as file:
        async for chunk in response.aiter_raw(_CHUNK_BYTES):
            size_bytes += await asyncio.to_thread(file.write, chunk)
    return size_bytes
