"""Signing up, in and out, and the profile."""

import asyncio

from tests.web.conftest import PASSWORD, MakeSite, Person, Site


async def test_a_new_account_gets_a_name_and_a_language_by_default(site: Site) -> None:
    answer = await site.sign_up("ada@example.org")
    login = await site.log_in("ada@example.org")

    assert (answer.status, await answer.json()) == (201, {"message": "User created successfully"})
    body = await login.json()
    assert body["message"] == "Login successful"
    user = body["user"]
    assert len(user.pop("id")) == 21
    assert user == {"email": "ada@example.org", "full_name": "Unnamed User", "language": "en"}


async def test_an_email_is_taken_in_any_letter_case(site: Site) -> None:
    await site.sign_up("ada@example.org")

    answer = await site.sign_up("ADA@Example.org")

    assert (answer.status, (await answer.json())["detail"]) == (400, "Email already registered")


async def test_of_two_signups_at_once_with_one_email_one_succeeds(site: Site) -> None:
    answers = await asyncio.gather(*(site.sign_up(f"{name}@example.org") for name in ("ada", "Ada", "ADA", "aDa")))

    assert sorted(answer.status for answer in answers) == [201, 400, 400, 400]


UNACCEPTABLE: list[tuple[dict[str, object], str]] = [
    ({"email": "no address", "password": PASSWORD}, "/email"),
    ({"email": "a@b c", "password": PASSWORD}, "/email"),
    ({"email": "ada@example.org", "password": "seven77"}, "/password"),
    ({"email": "ada@example.org", "password": "x" * 129}, "/password"),
    ({"email": "ada@example.org"}, "/password"),
    ({"email": 7, "password": PASSWORD}, "/email"),
    ({"email": "a\0@b", "password": PASSWORD}, "/email"),
]


async def test_an_unacceptable_signup_is_422_and_points_at_the_field(site: Site) -> None:
    for body, pointer in UNACCEPTABLE:
        answer = await site.client.post("/api/auth/signup", json=body)
        problem = await answer.json()

        assert answer.status == 422, body
        assert problem["errors"][0]["pointer"] == pointer
        assert problem["detail"]


async def test_the_profile_changes_only_in_the_fields_that_are_given(ada: Person) -> None:
    changed = await ada.put("/api/auth/me", json={"full_name": "Ada Lovelace", "language": None})
    shown = await ada.get("/api/auth/me")

    assert changed.status == 200
    assert await changed.json() == await shown.json()
    assert await shown.json() == {
        "id": ada.id,
        "email": "ada@example.org",
        "full_name": "Ada Lovelace",
        "language": "en",
    }


async def test_a_bearer_token_does_what_the_cookie_does(site: Site, ada: Person) -> None:
    answer = await site.client.get("/api/auth/me", headers={"Authorization": f"Bearer {ada.token}"})

    assert answer.status == 200


async def test_logout_works_without_a_session_and_clears_the_cookie(site: Site) -> None:
    answer = await site.client.post("/api/auth/logout")

    assert (answer.status, await answer.json()) == (200, {"message": "Logout successful"})
    cleared = answer.headers["Set-Cookie"]
    assert "Max-Age=0" in cleared
    for attribute in ("HttpOnly", "Secure", "SameSite=None", "Path=/"):
        assert attribute in cleared


async def test_in_development_the_cookie_works_over_plain_http(make_site: MakeSite) -> None:
    site = await make_site(dev=True)
    await site.sign_up("ada@example.org")

    cookie = (await site.log_in("ada@example.org")).headers["Set-Cookie"]

    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


async def test_right_passwords_after_wrong_ones_clear_the_account(site: Site) -> None:
    await site.sign_up("ada@example.org")
    for _ in range(4):
        assert (await site.log_in("ada@example.org", "wrong")).status == 401

    assert (await site.log_in("ada@example.org")).status == 200
    assert await site.db.fetch_value("SELECT count(*) FROM login_failure WHERE key LIKE 'account:%'") == 0


async def test_many_right_logins_at_once_all_succeed(site: Site) -> None:
    await site.sign_up("ada@example.org")

    answers = await asyncio.gather(*(site.log_in("ada@example.org") for _ in range(15)))

    assert {answer.status for answer in answers} == {200}
