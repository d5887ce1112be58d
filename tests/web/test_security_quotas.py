"""What one user may keep, whoever sends how much at once."""

import asyncio

from tests.web.conftest import SMALL, MakeSite, Person, Site


async def test_a_user_keeps_no_more_photos_than_allowed_until_one_is_deleted(make_site: MakeSite) -> None:
    """Row 23."""
    site = await make_site(user_max_files=2)
    ada, bob = await site.user("ada@example.org"), await site.user("bob@example.org")
    first = await ada.photo()

    mixed = await ada.upload(("b.jpg", SMALL), ("c.jpg", SMALL))
    refused = await ada.upload(("d.jpg", SMALL))

    body = await mixed.json()
    assert (mixed.status, len(body["media_ids"])) == (201, 1)
    assert [(entry["filename"], entry["code"]) for entry in body["rejected"]] == [("c.jpg", "over_quota")]
    assert (refused.status, (await refused.json())["detail"]) == (413, "You may keep at most 2 photos.")
    assert await bob.photo()
    await ada.delete(f"/api/vault/{first}")
    assert await ada.photo()


async def test_a_user_keeps_no_more_bytes_than_allowed(make_site: MakeSite) -> None:
    """Row 23."""
    site = await make_site(user_max_bytes=3 * len(SMALL))
    ada = await site.user("ada@example.org")

    large = await ada.upload(("a.jpg", SMALL + bytes(3 * len(SMALL))))
    kept = [(await ada.upload((f"{n}.jpg", SMALL))).status for n in range(4)]
    await ada.delete("/api/vault/all")

    assert (large.status, (await large.json())["code"]) == (413, "over_quota")
    assert f"{3 * len(SMALL)} bytes" in (await large.json())["detail"]
    assert kept == [201, 201, 201, 413]
    assert await ada.photo()


async def test_uploads_at_once_on_two_processes_do_not_pass_the_limit_together(make_site: MakeSite) -> None:
    """Row 23."""
    one, other = await make_site(user_max_files=5), await make_site(user_max_files=5)
    ada = await one.user("ada@example.org")
    elsewhere = Person(other, ada.id, ada.token)

    answers = await asyncio.gather(*(who.upload(("a.jpg", SMALL)) for _ in range(8) for who in (ada, elsewhere)))

    assert sorted(answer.status for answer in answers) == [201] * 5 + [413] * 11
    assert await one.db.fetch_value("SELECT count(*) FROM media") == 5


async def test_a_photo_that_was_not_kept_is_not_counted(site: Site, ada: Person) -> None:
    await ada.upload(("a.jpg", SMALL), ("b.jpg", b"no photo"))

    row = await site.db.fetch_row("SELECT photos, kept_bytes FROM feed")

    assert row is not None
    assert tuple(row) == (1, len(SMALL))
