"""Uploads: what is kept, what is refused, and that nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiohttp import FormData

from hyperion.media import photos
from hyperion.web.upload import Rejected, _nothing_usable
from tests.photos import make_photo
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


async def test_a_photo_before_the_damage_is_not_kept_either(site: Site, ada: Person) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    answer = await ada.post("/api/upload/files", data=head + SMALL + b"\r\n" + head + b"cut", headers=headers)

    assert answer.status == 400
    assert await site.db.fetch_value("SELECT count(*) FROM media") == 0


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


def test_files_that_nobody_could_check_are_not_the_clients_fault() -> None:
    lacking, fake = Rejected("a.jpg", "unavailable", "Send it again."), Rejected("b.jpg", "damaged", "Damaged.")

    assert (_nothing_usable([lacking, lacking]).status, _nothing_usable([lacking, fake]).status) == (503, 422)
