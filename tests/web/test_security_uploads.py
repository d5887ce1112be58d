"""Hostile uploads: what they claim to be, how large, how many, under which names."""

import asyncio
import gzip
import io
import struct
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import psutil
from PIL import Image

from hyperion.media import image
from tests.photos import make_photo
from tests.until import until
from tests.web.conftest import MULTIPART, SMALL, MakeSite, Person, Site, form


def spooled(site: Site) -> list[str]:
    """List what lies in the spool."""
    return [str(path) for path in (site.settings.var_dir / "spool").glob("*")]


async def test_one_corrupt_file_among_ten_is_reported_and_the_others_are_kept(ada: Person) -> None:
    """Row 22."""
    files = [(f"{n}.jpg", SMALL) for n in range(9)]

    answer = await ada.upload(*files[:4], ("fake.jpg", b"this is not a photo"), *files[4:])
    body = await answer.json()

    assert (answer.status, body["message"]) == (201, "9 files uploaded successfully")
    assert len(set(body["media_ids"])) == 9
    assert [(entry["filename"], entry["code"]) for entry in body["rejected"]] == [("fake.jpg", "unsupported_type")]


DAMAGED = [
    ("application/json", b"{}", 415),
    ("multipart/mixed; boundary=b", b"--b--\r\n", 415),
    ("multipart/form-data", b"--b--\r\n", 400),
    ("multipart/form-data; boundary=b", b"", 400),
    ("multipart/form-data; boundary=b", b"no boundary at all", 400),
    ("multipart/form-data; boundary=b", b"--b\r\n", 400),
    ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n", 400),
    (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + SMALL,
        400,
    ),
    (
        "multipart/form-data; boundary=b",
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n",
        400,
    ),
    (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n' + b"x" * 60 + b"\r\n--b--\r\n",
        400,
    ),
]


async def test_a_damaged_body_is_refused_and_leaves_nothing(site: Site, ada: Person) -> None:
    """Row 25."""
    for content_type, body, status in DAMAGED:
        answer = await ada.post("/api/upload/files", data=body, headers={"Content-Type": content_type})

        assert answer.status == status, (content_type, body[:80])
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0
    assert spooled(site) == []


async def test_a_file_over_the_limit_is_rejected_by_name_and_spoils_no_other(make_site: MakeSite) -> None:
    """Row 23."""
    site = await make_site(max_file_bytes=10_000)
    ada = await site.user("ada@example.org")

    mixed = await ada.upload(("big.jpg", SMALL + bytes(20_000)), ("small.jpg", SMALL))
    alone = await ada.upload(("big.jpg", SMALL + bytes(20_000)))

    assert mixed.status == 201
    [rejected] = (await mixed.json())["rejected"]
    assert (rejected["filename"], rejected["code"]) == ("big.jpg", "too_large")
    assert "10000 bytes" in rejected["detail"]
    assert alone.status == 413


async def test_more_files_than_allowed_are_refused_as_a_whole(make_site: MakeSite) -> None:
    """Row 23."""
    site = await make_site(max_files=2)
    ada = await site.user("ada@example.org")

    answer = await ada.upload(*[(f"{n}.jpg", SMALL) for n in range(3)])

    assert answer.status == 413
    assert "2 files" in (await answer.json())["detail"]
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0


async def test_a_body_over_the_limit_is_413_with_and_without_a_length(make_site: MakeSite) -> None:
    """Row 18."""
    site = await make_site(max_file_bytes=1024, max_files=1)
    ada = await site.user("ada@example.org")
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    async def endless() -> AsyncIterator[bytes]:
        yield head
        for _ in range(100):
            yield bytes(64 << 10)

    with_length = await ada.post("/api/upload/files", data=io.BytesIO(head + bytes(1 << 20)), headers=headers)
    without = await ada.post("/api/upload/files", data=endless(), headers=headers)

    assert (with_length.status, without.status) == (413, 413)
    assert spooled(site) == []


async def test_a_client_that_goes_away_leaves_no_file(site: Site, ada: Person) -> None:
    """Row 18."""
    _, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
    writer.write(
        b"POST /api/upload/files HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n"
        + f"Cookie: access_token={ada.token}\r\n\r\n".encode()
        + b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        + bytes(50_000)
    )
    await until(lambda: spooled(site))

    writer.close()
    await writer.wait_closed()

    await until(lambda: not spooled(site))


HOSTILE_NAMES = [
    "../../x",
    "a\0b.jpg",
    "a\r\nSet-Cookie: x=1.jpg",
    "q\"uo'te.jpg",
    "\u202egpj.exe",
    "x" * 5000 + ".jpg",
    "",
]


async def test_any_file_name_becomes_a_safe_path_and_intact_headers(site: Site, ada: Person) -> None:
    """Row 21."""
    for name in HOSTILE_NAMES:
        media_id = await ada.photo(name)

        row = await site.db.fetch_row("SELECT filename, store_path FROM media WHERE id = $1", media_id)
        answer = await ada.get(f"/api/media/{media_id}/image")

        assert row is not None
        assert row["store_path"].startswith(f"media/{ada.id}/")
        assert ".." not in row["store_path"]
        assert row["store_path"].count("/") == 3
        assert row["store_path"].isascii()
        assert 0 < len(row["filename"]) <= 255
        assert row["filename"].isprintable()
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Content-Disposition"].startswith("inline; filename=")


async def test_a_photo_is_served_as_its_own_type_where_nothing_in_it_can_run(ada: Person) -> None:
    """Row 20."""
    polyglot = make_photo(size=(16, 16), fmt="PNG") + b"<script>alert(1)</script>"

    media_id = await ada.photo('Ünï "x".jpg', polyglot)
    answer = await ada.get(f"/api/media/{media_id}/image")

    assert answer.content_type == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    assert answer.headers["Cache-Control"].startswith("private, max-age=")
    assert answer.headers["Content-Disposition"] == (
        "inline; filename=\"_n_ _x_.jpg\"; filename*=UTF-8''%C3%9Cn%C3%AF%20%22x%22.jpg"
    )


NO_PHOTOS = [b"<html><body>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"PK\x03\x04zip", SMALL[: len(SMALL) // 2]]


async def test_what_is_no_whole_photo_is_rejected_whatever_its_name(ada: Person) -> None:
    """Row 20."""
    for content in NO_PHOTOS:
        assert (await ada.upload(("x.jpg", content))).status == 422, content[:40]


async def test_a_small_file_that_unpacks_to_400_megapixels_is_rejected_at_once(ada: Person) -> None:
    """Row 19."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(20_000 * 2501), 9))
    bomb = b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")
    assert len(bomb) < 60_000
    took_s = []

    with memory_watched() as growth_bytes:
        for _ in range(5):
            started = time.perf_counter()
            answer = await ada.upload(("bomb.png", bomb))
            took_s.append(time.perf_counter() - started)

            assert (answer.status, (await answer.json())["rejected"][0]["code"]) == (422, "too_many_pixels")

    assert min(took_s) < 0.5  # the least, as other tests run beside this one
    assert growth_bytes() < 20 << 20


async def test_a_body_without_an_end_is_refused_with_flat_memory(make_site: MakeSite) -> None:
    """Row 18: of a file that is too large the rest is read and dropped, of too large a body not even that."""
    site = await make_site(max_file_bytes=1 << 20, max_files=200)
    ada = await site.user("ada@example.org")
    sent_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent_bytes
        yield form(("a.jpg", b"")).removesuffix(b"\r\n--b--\r\n")
        while True:
            sent_bytes += 1 << 20
            yield bytes(1 << 20)

    with memory_watched() as growth_bytes:
        answer = await ada.post("/api/upload/files", data=endless(), headers=MULTIPART)

    assert answer.status == 413
    assert sent_bytes >= 200 << 20
    assert growth_bytes() < 40 << 20
    assert spooled(site) == []


async def test_a_length_that_lies_leaves_no_file_and_no_photo(site: Site, ada: Person) -> None:
    """Row 18: too short, the rest is no request; too long, the client goes before the end."""
    body = form(("a.jpg", SMALL))
    for claimed_bytes in (len(body) - 100, len(body) + 100):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
        writer.write(
            b"POST /api/upload/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            + f"Cookie: access_token={ada.token}\r\nContent-Length: {claimed_bytes}\r\n\r\n".encode()
            + body
        )
        writer.write_eof()

        answer = await asyncio.wait_for(reader.read(), 5)

        assert b" 201 " not in answer
        writer.close()
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0
    await until(lambda: not spooled(site))


async def test_a_packed_upload_is_refused(ada: Person) -> None:
    body = gzip.compress(form(("a.jpg", SMALL)))

    answer = await ada.post("/api/upload/files", data=body, headers=MULTIPART | {"Content-Encoding": "gzip"})

    assert answer.status == 415


async def test_a_thumbnail_carries_no_exif(site: Site, ada: Person) -> None:
    """Row 24."""
    photo = make_photo(lat=52.5, lng=13.4, altitude=30, camera=("Acme", "Secret 9"), orientation=6)
    media_id = await ada.photo(content=photo)
    small = image.thumbnail(io.BytesIO(photo))
    await site.db.execute("INSERT INTO media_thumbnail (media_id, content) VALUES ($1, $2)", media_id, small)

    shown = await (await ada.get(f"/api/media/{media_id}/thumbnail")).read()

    assert dict(Image.open(io.BytesIO(photo)).getexif())
    assert not dict(Image.open(io.BytesIO(shown)).getexif())
    assert b"Exif" not in shown
    assert b"Secret 9" not in shown


@contextmanager
def memory_watched() -> Iterator[Callable[[], int]]:
    """Give what tells by how many bytes this process, which is client and server, grew at most inside the block."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    is_over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: peak - before
    finally:
        is_over.set()
        watching.join()
