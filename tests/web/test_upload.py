"""Uploads: what is kept, what is refused, and that nothing is left behind."""

import asyncio
import io
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiohttp import FormData

from hyperion.media import photos
from tests.photos import make_photo
from tests.until import until
from tests.web.conftest import SMALL, MakeSite, Person, Site


def spooled(site: Site) -> list[str]:
    """List what lies in the spool."""
    return [str(path) for path in (site.settings.var_dir / "spool").glob("*")]


async def test_photos_are_kept_with_their_bytes_their_task_and_their_history(site: Site, ada: Person) -> None:
    large = make_photo(size=(1800, 1400)) + bytes(2 * photos.PART_BYTES)  # more than one part
    answer = await ada.upload(("a.jpg", SMALL), ("b.jpg", large))
    body = await answer.json()

    assert answer.status == 201
    assert body["message"] == "2 files uploaded successfully"
    assert body["rejected"] == []
    ids = [UUID(text) for text in body["media_ids"]]
    assert all(media_id.version == 7 for media_id in ids)
    assert ids == sorted(ids)
    kept = await site.db.fetch("SELECT content FROM media_blob WHERE media_id = $1 ORDER BY part", ids[1])
    assert b"".join(row["content"] for row in kept) == large
    assert len(kept) > 1
    assert await site.db.fetch_value("SELECT count(*) FROM task WHERE kind = 'archive'") == 2
    assert await site.db.fetch_value("SELECT count(*) FROM media_log WHERE status = 'PENDING'") == 2
    assert spooled(site) == []


async def test_one_corrupt_file_among_ten_is_reported_and_the_others_are_kept(ada: Person) -> None:
    """SECURITY 22."""
    files = [(f"{n}.jpg", SMALL) for n in range(9)]

    answer = await ada.upload(*files[:4], ("fake.jpg", b"this is not a photo"), *files[4:])
    body = await answer.json()

    assert (answer.status, body["message"]) == (201, "9 files uploaded successfully")
    assert len(set(body["media_ids"])) == 9
    assert [(entry["filename"], entry["code"]) for entry in body["rejected"]] == [("fake.jpg", "unsupported_type")]


async def test_when_no_file_is_usable_the_answer_is_422_with_each_reason(site: Site, ada: Person) -> None:
    answer = await ada.upload(("a.jpg", b"<html>"), ("b.jpg", b""))
    body = await answer.json()

    assert (answer.status, answer.content_type) == (422, "application/problem+json")
    assert [entry["code"] for entry in body["rejected"]] == ["unsupported_type", "empty"]
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0
    assert spooled(site) == []


async def test_a_form_without_files_is_422(ada: Person) -> None:
    body = FormData(default_to_multipart=True)
    body.add_field("title", "holiday")

    assert (await ada.post("/api/upload/files", data=body)).status == 422


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
    """SECURITY 25."""
    for content_type, body, status in DAMAGED:
        answer = await ada.post("/api/upload/files", data=body, headers={"Content-Type": content_type})

        assert answer.status == status, (content_type, body[:80])
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0
    assert spooled(site) == []


async def test_a_photo_before_the_damage_is_not_kept_either(site: Site, ada: Person) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    answer = await ada.post("/api/upload/files", data=head + SMALL + b"\r\n" + head + b"cut", headers=headers)

    assert answer.status == 400
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0


async def test_a_file_over_the_limit_is_rejected_by_name_and_spoils_no_other(make_site: MakeSite) -> None:
    """SECURITY 23."""
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
    """SECURITY 23."""
    site = await make_site(max_files=2)
    ada = await site.user("ada@example.org")

    answer = await ada.upload(*[(f"{n}.jpg", SMALL) for n in range(3)])

    assert answer.status == 413
    assert "2 files" in (await answer.json())["detail"]
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0


async def test_a_body_over_the_limit_is_413_with_and_without_a_length(make_site: MakeSite) -> None:
    """SECURITY 18."""
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
    """SECURITY 18."""
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


async def test_an_upload_that_trickles_is_ended(make_site: MakeSite) -> None:
    site = await make_site(upload_timeout_s=0.3)
    ada = await site.user("ada@example.org")
    never = asyncio.Event()

    async def trickle() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        await never.wait()

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await ada.post("/api/upload/files", data=trickle(), headers=headers)

    assert answer.status == 408
    assert spooled(site) == []


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
    """SECURITY 21."""
    for name in HOSTILE_NAMES:
        media_id = await ada.photo(name)

        row = await site.db.fetch_row("SELECT filename, store_path FROM media WHERE id = $1", media_id)
        image = await ada.get(f"/api/media/{media_id}/image")

        assert row is not None
        assert row["store_path"].startswith(f"media/{ada.id}/")
        assert ".." not in row["store_path"]
        assert row["store_path"].count("/") == 3
        assert row["store_path"].isascii()
        assert 0 < len(row["filename"]) <= 255
        assert row["filename"].isprintable()
        assert image.status == 200
        assert "Set-Cookie" not in image.headers
        assert image.headers["Content-Disposition"].startswith("inline; filename=")


async def test_an_upload_whose_first_photo_the_database_cannot_take_is_503(site: Site, ada: Person) -> None:
    await _lose_the_database_at(site, "a.jpg")

    answer = await ada.upload(("a.jpg", SMALL), ("b.jpg", SMALL))

    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0
    assert spooled(site) == []


@pytest.mark.parametrize("when", ["AFTER INSERT", "AT COMMIT"])
async def test_when_the_database_goes_away_halfway_what_is_kept_is_acknowledged(
    site: Site, ada: Person, when: str
) -> None:
    await _lose_the_database_at(site, "b.jpg", when=when)

    answer = await ada.upload(("a.jpg", SMALL), ("b.jpg", SMALL), ("c.jpg", SMALL))
    body = await answer.json()

    assert answer.status == 201
    assert [UUID(text) for text in body["media_ids"]] == [
        row["id"] for row in await site.db.fetch("SELECT id FROM media")
    ]
    assert [(entry["filename"], entry["code"]) for entry in body["rejected"]] == [
        ("b.jpg", "unavailable"),
        ("c.jpg", "unavailable"),
    ]


async def test_the_four_newest_photos_are_the_recent_ones(ada: Person) -> None:
    ids = [str(await ada.photo(f"{n}.jpg")) for n in range(5)]

    body = await (await ada.get("/api/upload/recents")).json()

    assert body["total"] == 4
    assert [item["id"] for item in body["items"]] == ids[:0:-1]


async def _lose_the_database_at(site: Site, filename: str, *, when: str = "AFTER INSERT") -> None:
    """Have the server end the connection that keeps this file: in the middle, or while it commits."""
    await site.db.execute(
        """
        CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$
        """
    )
    deferred = "DEFERRABLE INITIALLY DEFERRED" if when == "AT COMMIT" else ""
    await site.db.execute(
        f"""
        CREATE CONSTRAINT TRIGGER hang_up AFTER INSERT ON media {deferred}
        FOR EACH ROW WHEN (NEW.filename = '{filename}') EXECUTE FUNCTION hang_up()
        """
    )
