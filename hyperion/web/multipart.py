"""Files out of a multipart body, one after the other, each straight into a temporary file."""

import asyncio
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    BodyPartReader,
    MultipartReader,
    StreamReader,
    web,
)

from hyperion.web.problems import Problem
from hyperion.web.reading import UNREADABLE

T = TypeVar("T")

FIELD = "files"
CHUNK_BYTES = 64 << 10
BLOCK_BYTES = 256 << 10  # of memory that each upload may need, twice
STEP_BYTES = 16 << 10  # what has to arrive within `step_s`; less is a trickle that only holds a place
FRAMING_BYTES = 64 << 10  # for boundaries, headers and small other fields
# They would repeat to stderr what was sent, and Python remembers every text it has warned of, for ever.
warnings.filterwarnings("ignore", category=BadContentDispositionHeader)
warnings.filterwarnings("ignore", category=BadContentDispositionParam)
# What aiohttp's reader raises for a body that breaks the rules of multipart.
_DAMAGED = (ValueError, AssertionError, RuntimeError, LookupError, *UNREADABLE)


@dataclass(frozen=True)
class Received:
    """A file that has arrived. `is_too_large`: it went on after the limit, where `path` ends."""

    filename: str
    path: Path
    size_bytes: int
    is_too_large: bool


async def receive_files(
    request: web.Request, folder: Path, *, max_files: int, max_file_bytes: int, step_s: float
) -> AsyncGenerator[Received, None]:
    """Yield the files of the field `files`, written into `folder`; other fields are skipped.

    Raises Problem: 415 when the body is no multipart/form-data, 413 when it has more bytes or files
    than may be, 408 when it trickles, 400 when it is damaged or ends early.
    """
    if request.content_type != "multipart/form-data" or "Content-Encoding" in request.headers:
        # Packed, a megabyte on the wire could fill a gigabyte of disk.
        raise Problem(415, "unsupported_media_type", "The body must be multipart/form-data, not packed.")
    limit_bytes = max_files * max_file_bytes + FRAMING_BYTES
    too_large = Problem(413, "too_large", f"The request may have at most {limit_bytes} bytes.")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    pace = _Pace(request.content, step_s)
    number = 0
    try:
        reader = MultipartReader(request.headers, request.content)
        while (part := await pace.keep(reader.next())) is not None:
            if not isinstance(part, BodyPartReader):
                raise ValueError("a multipart within the multipart")  # noqa: TRY004  (damage, as the others)
            if part.name == FIELD:
                number += 1
                if number > max_files:
                    raise Problem(413, "too_many_files", f"The request may have at most {max_files} files.")
            target = folder / str(number) if part.name == FIELD else None
            size_bytes = await _receive(pace, part, target, max_file_bytes, limit_bytes)
            if request.content.total_bytes > limit_bytes:
                raise too_large
            if target is not None:
                yield Received(part.filename or "", target, size_bytes, size_bytes > max_file_bytes)
    except _DAMAGED:
        raise Problem(400, "malformed_multipart", "The body is damaged or ends early.") from None


class _Pace:
    """Waits for a client as long as it sends at least STEP_BYTES within `step_s` seconds of waiting."""

    def __init__(self, content: StreamReader, step_s: float) -> None:
        self.content = content
        self._step_s = self._left_s = step_s
        self._step_began_at_bytes = 0

    async def keep(self, reading: Awaitable[T]) -> T:
        """Return what `reading` gives. Raises Problem 408."""
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                return await reading
        except TimeoutError:
            raise Problem(408, "too_slow", f"The upload stood still for {self._step_s:g} s.") from None
        finally:
            self._left_s -= time.monotonic() - began_s
            if self.content.total_bytes - self._step_began_at_bytes >= STEP_BYTES:
                self._step_began_at_bytes, self._left_s = self.content.total_bytes, self._step_s


async def _receive(
    pace: _Pace, part: BodyPartReader, target: Path | None, max_file_bytes: int, limit_bytes: int
) -> int:
    """Write one part to `target` (None: nowhere) up to its limit, read on to its end; return its size in bytes."""
    size_bytes = 0
    block = bytearray()
    while chunk := await pace.keep(part.read_chunk(CHUNK_BYTES)):
        size_bytes += len(chunk)
        if pace.content.total_bytes > limit_bytes:
            break
        if target is None:
            continue
        if size_bytes > max_file_bytes:
            block.clear()
            continue
        block += chunk
        if len(block) >= BLOCK_BYTES:
            await asyncio.to_thread(_append, target, bytes(block))
            block.clear()
    if target is not None:
        await asyncio.to_thread(_append, target, bytes(block))
    return size_bytes


def _append(target: Path, block: bytes) -> None:
    with target.open("ab") as file:
        file.write(block)
