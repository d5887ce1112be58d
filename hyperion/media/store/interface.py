"""What a store of photos can do, whatever it is made of."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Item:
    """A photo on its way into the store: its `path` there, and the local file with its bytes."""

    path: str
    source: Path


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a store likes to be given at once, and how often.

    `files` and `size_bytes` are for ordinary times, the `most_…` for a store that makes itself
    scarce: then each commit has to carry more. `commits_per_hour` 0: as often as one likes.
    """

    files: int
    most_files: int
    size_bytes: int
    most_bytes: int
    linger_s: float = 0.0
    commits_per_hour: int = 0
    burst: int = 1


class Store(Protocol):
    """Keeps photos under relative paths such as `media/{user_id}/{day}/{name}`.

    Everything here may be tried again: what is half done is completed, what is done stays done.
    A path that is absolute, climbs with `..` or has a part that starts with a dot: ValueError.

    Writing raises StoreUnavailable, in which case some of it may be done and some not; StorePaused,
    which is one, where the store wants to be left alone; BatchRefused where it will not take this
    batch as a whole; FileNotFoundError when a source is not there.

    `is_near`: a photo is read where it lies, which costs less than to get it from the database.
    """

    name: str
    is_near: bool
    limits: Limits

    async def apply(self, puts: Sequence[Item], deletes: Sequence[str], *, is_doubtful: bool = False) -> None:
        """Store and remove, in one go where the store can.

        `is_doubtful`: how an earlier attempt ended is not known, and it may still be under way.
        """

    async def put_many(self, items: Sequence[Item]) -> None:
        """Store every item durably; one that is there is replaced."""

    async def delete_many(self, paths: Sequence[str]) -> None:
        """Remove every path; absent ones are fine."""

    def local_copy(self, path: str) -> AbstractAsyncContextManager[Path]:
        """Give a file to read the photo from, for the time of the block; it must not be written.

        Raises PhotoMissing when nothing is stored under `path`, StoreUnavailable.
        """

    def public_url(self, path: str) -> str | None:
        """Return a URL at which anybody may fetch the photo; None: our own route serves it."""

    async def sweep(self) -> int:
        """Remove what killed processes left behind; return how many files. Raises StoreUnavailable."""

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
