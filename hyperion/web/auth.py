"""Signing up, in and out, and one's own profile."""

import unicodedata
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp_session import get_session
from msgspec import Meta

from hyperion.db import load_queries
from hyperion.web import ids, sessions
from hyperion.web.keys import DB, PASSWORDS, THROTTLE, TOKENS, WAKEUP
from hyperion.web.problems import CHALLENGE, Problem, invalid, not_signed_in
from hyperion.web.revocation import REVOKED_CHANNEL
from hyperion.web.route import json_response
from hyperion.web.sessions import Session, User
from hyperion.web.tokens import LIFE, TICKET_LIFE, Claims

SQL = load_queries(__package__, "auth.sql")

EMAIL_MAX = 254
# More cannot be right, in any composition; the time to normalise grows with the square of the length.
LONGEST_GUESS = 1024
DEFAULT_NAME = "Unnamed User"
DEFAULT_LANGUAGE = "en"

FullName = Annotated[str, Meta(max_length=200)]
Language = Annotated[str, Meta(min_length=1, max_length=35)]


class Signup(msgspec.Struct, frozen=True):
    """A new account."""

    email: Annotated[str, Meta(max_length=EMAIL_MAX, extra_json_schema={"format": "email"})]
    password: Annotated[str, Meta(min_length=8, max_length=128)]
    full_name: FullName | None = None


class Login(msgspec.Struct, frozen=True):
    """A claim to be somebody."""

    email: Annotated[str, Meta(max_length=LONGEST_GUESS)]
    password: Annotated[str, Meta(max_length=LONGEST_GUESS)]


class Profile(msgspec.Struct, frozen=True):
    """What to change of one's own account; absent or null stays."""

    full_name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    language: Language | None = None


class Message(msgspec.Struct, frozen=True):
    """A sentence for the person."""

    message: str


class LoginAnswer(msgspec.Struct, frozen=True):
    """Who is signed in now. The token travels in the cookie alone."""

    message: str
    user: User


class Refreshed(msgspec.Struct, frozen=True):
    """The session goes on for `expires_in` seconds. The token travels in the cookie alone."""

    message: str
    expires_in: int


class SocketToken(msgspec.Struct, frozen=True):
    """A token for `?token=` of the WebSocket, good for `expires_in` seconds."""

    token: str
    expires_in: int


async def signup(request: web.Request, body: Signup) -> Message:
    """Create an account."""
    email = _checked_email(body.email)
    name = (body.full_name or "").strip() or DEFAULT_NAME
    password_hash = await request.app[PASSWORDS].hash(body.password)
    created = await request.app[DB].fetch_value(
        SQL.insert_user, ids.nanoid(), email, name, DEFAULT_LANGUAGE, password_hash
    )
    if created is None:
        raise Problem(400, "email_taken", "Email already registered")
    return Message("User created successfully")


async def login(request: web.Request, body: Login) -> web.Response:
    """Check email and password, and set the cookie."""
    db = request.app[DB]
    account = await db.fetch_row(SQL.account, _canonical(body.email), body.email.strip())
    assert account is not None
    async with request.app[THROTTLE].attempt(request, account["key"]) as attempt:
        attempt.succeeded = await request.app[PASSWORDS].matches(body.password, account["password_hash"])
    if not attempt.succeeded:
        raise Problem(401, "wrong_credentials", "Invalid email or password", headers=CHALLENGE)
    user = User(account["id"], account["email"], account["full_name"], account["language"])
    response = json_response(LoginAnswer("Login successful", user))
    sessions.set_cookie(request, response, request.app[TOKENS].issue(user.id))
    return response


async def logout(request: web.Request) -> web.Response:
    """Revoke the token everywhere, if there is one, and clear the cookie.

    A token that was refreshed meanwhile ends the session as well.
    """
    claims = sessions.claimed(request)
    if claims is not None:
        await _end_session(request, claims)
        (await get_session(request)).invalidate()
    response = json_response(Message("Logout successful"))
    sessions.clear_cookie(request, response)
    return response


async def refresh(request: web.Request, session: Session) -> web.Response:
    """Set a cookie with a new token and revoke the old one everywhere.

    Of several that refresh one token at once, one succeeds and the others are 401: a token that was
    replaced is worth as little as one that was revoked. So is it when the answer is lost on its way;
    who gets a 401 after that signs in again. Open sockets live on under the new token.
    """
    tokens = request.app[TOKENS]
    token = tokens.issue(session.user.id, session_id=session.id)
    fresh = tokens.verify(token)
    assert fresh is not None
    if not await request.app[DB].fetch_value(
        SQL.replace_token, session.jti, session.expires_at, fresh.jti, fresh.expires_at
    ):
        raise not_signed_in()
    request.app[WAKEUP].ring(REVOKED_CHANNEL)
    response = json_response(Refreshed("Session refreshed", round(LIFE.total_seconds())))
    sessions.set_cookie(request, response, token)
    return response


async def issue_ws_token(request: web.Request, session: Session) -> SocketToken:
    """Give a token that opens one WebSocket, once, and is good for nothing else."""
    return SocketToken(request.app[TOKENS].issue_ticket(session.claims), round(TICKET_LIFE.total_seconds()))


async def show_me(_request: web.Request, session: Session) -> User:
    """Say who is signed in."""
    return session.user


async def change_me(request: web.Request, session: Session, body: Profile) -> User:
    """Change one's own profile."""
    row = await request.app[DB].fetch_row(SQL.update_user, session.user.id, body.full_name, body.language)
    if row is None:
        raise not_signed_in()
    return User(**row)


async def _end_session(request: web.Request, claims: Claims) -> None:
    """Revoke a token, and what took its place if it was refreshed.

    A refresh that commits while the statement runs is seen by the second one: whoever signs out is
    out, even if both were under way at once.
    """
    for _ in range(2):
        rows = await request.app[DB].fetch(SQL.revoke, claims.jti, claims.expires_at)
        for row in rows:
            request.app[WAKEUP].ring(REVOKED_CHANNEL, row["jti"])
        if rows:
            return


def _canonical(email: str) -> str:
    """Return the one spelling of an address: what looks the same is the same account's (NFKC)."""
    return unicodedata.normalize("NFKC", email).strip()


def _checked_email(given: str) -> str:
    email = _canonical(given)
    name, _, domain = email.rpartition("@")
    if not name or not domain or not email.isprintable() or " " in email:
        raise invalid("/email", "This is not an email address.")
    return email
