"""The bytes of photos and thumbnails, to their owner alone."""

import asyncio
import hashlib
import os
from pathlib import Path
from urllib.parse import quote

from aiohttp import hdrs, web

from hyperion.db import Record, load_queries
from hyperion.errors import PhotoMissing, StoreUnavailable
from hyperion.media import photos
from hyperion.web.keys import DB, IMAGE_SPOOL, STORE
from hyperion.web.problems import media_not_found
from hyperion.web.reading import media_id
from hyperion.web.sessions import Session

SQL = load_queries(__package__, "files.sql")

CHUNK_BYTES = 256 << 10
# Even a file that is a photo and a web page at once does nothing under this.
SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"


async def show_image(request: web.Request, session: Session) -> web.StreamResponse:
    """Send a photo as it was uploaded: from the database while it is there, then from the store."""
    row = await request.app[DB].fetch_row(SQL.image, media_id(request), session.user.id)
    if row is None:
        raise media_not_found()
    headers = _headers(row["content_type"], f'"{row["id"]}"', max_age_s=86400)
    headers[hdrs.CONTENT_DISPOSITION] = _disposition(row["filename"])
    if _is_known(request, headers):
        return _not_modified(headers)
    if row["has_blob"]:
        async with request.app[IMAGE_SPOOL].folder() as folder:
            path = folder / "photo"
            if await photos.copy_blob(request.app[DB], row["id"], path):
                return await _send(request, path, headers)
    return await _send_stored(request, row, headers)


async def show_thumbnail(request: web.Request, session: Session) -> web.StreamResponse:
    """Send the small picture, once there is one."""
    content = await request.app[DB].fetch_value(SQL.thumbnail, media_id(request), session.user.id)
    if content is None:
        raise media_not_found()
    headers = _headers("image/jpeg", f'"{hashlib.sha256(content).hexdigest()[:32]}"', max_age_s=300)
    return _not_modified(headers) if _is_known(request, headers) else web.Response(body=content, headers=headers)


async def _send_stored(request: web.Request, row: Record, headers: dict[str, str]) -> web.StreamResponse:
    try:
        async with request.app[STORE].local_copy(row["store_path"]) as path:
            return await _send(request, path, headers)
    except PhotoMissing as error:
        if row["is_stored"]:
            raise StoreUnavailable(f"the store does not give {row['store_path']}") from error
        raise media_not_found() from error


async def _send(request: web.Request, path: Path, headers: dict[str, str]) -> web.StreamResponse:
    with path.open("rb") as file:
        response = web.StreamResponse(headers=headers)
        response.content_length = os.fstat(file.fileno()).st_size
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                await response.write(chunk)
        await response.write_eof()
        return response


def _headers(content_type: str, etag: str, *, max_age_s: int) -> dict[str, str]:
    return {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.ETAG: etag,
        hdrs.CACHE_CONTROL: f"private, max-age={max_age_s}",
        hdrs.CONTENT_SECURITY_POLICY: SANDBOX,
    }


def _is_known(request: web.Request, headers: dict[str, str]) -> bool:
    wanted = headers[hdrs.ETAG].strip('"')
    return any(etag.value in (wanted, "*") for etag in request.if_none_match or ())


def _not_modified(headers: dict[str, str]) -> web.Response:
    kept = {name: value for name, value in headers.items() if name != hdrs.CONTENT_TYPE}
    return web.Response(status=304, headers=kept)


def _disposition(filename: str) -> str:
    """Say what to save the file as (RFC 6266): plain letters for old clients, the whole name besides."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in filename)
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
