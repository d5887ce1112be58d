"""Files out of a multipart body, one after the other, each straight into a temporary file."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, MultipartReader, web

from hyperion.web.problems import Problem
from hyperion.web.reading import UNREADABLE

FIELD = "files"
CHUNK_BYTES = 64 << 10
BLOCK_BYTES = 256 << 10  # of memory that each upload may need, twice
FRAMING_BYTES = 64 << 10  # for boundaries, headers and small other fields
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
    request: web.Request, folder: Path, *, max_files: int, max_file_bytes: int
) -> AsyncGenerator[Received, None]:
    """Yield the files of the field `files`, written into `folder`; other fields are skipped.

    Raises Problem: 415 when the body is no multipart/form-data, 413 when it has more bytes or files
    than may be, 400 when it is damaged or ends early.
    """
    if request.content_type != "multipart/form-data":
        raise Problem(415, "unsupported_media_type", "The body must be multipart/form-data.")
    limit_bytes = max_files * max_file_bytes + FRAMING_BYTES
    too_large = Problem(413, "too_large", f"The request may have at most {limit_bytes} bytes.")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    number = 0
    try:
        reader = MultipartReader(request.headers, request.content)
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise ValueError("a multipart within the multipart")  # noqa: TRY004  (damage, as the others)
            if part.name == FIELD:
                number += 1
                if number > max_files:
                    raise Problem(413, "too_many_files", f"The request may have at most {max_files} files.")
            target = folder / str(number) if part.name == FIELD else None
            size_bytes = await _receive(request, part, target, max_file_bytes, limit_bytes)
            if request.content.total_bytes > limit_bytes:
                raise too_large
            if target is not None:
                yield Received(part.filename or "", target, size_bytes, size_bytes > max_file_bytes)
    except _DAMAGED:
        raise Problem(400, "malformed_multipart", "The body is damaged or ends early.") from None


async def _receive(
    request: web.Request, part: BodyPartReader, target: Path | None, max_file_bytes: int, limit_bytes: int
) -> int:
    """Write one part to `target` (None: nowhere) up to its limit, read on to its end; return its size in bytes."""
    size_bytes = 0
    block = bytearray()
    while chunk := await part.read_chunk(CHUNK_BYTES):
        size_bytes += len(chunk)
        if request.content.total_bytes > limit_bytes:
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
