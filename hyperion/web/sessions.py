"""Who is asking: the token in a request, checked against the database, and the cookie that carries it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import msgspec
from aiohttp import web
from aiohttp_session import get_session

from hyperion.db import Database, Record, load_queries
from hyperion.web.keys import DB, SETTINGS, TOKENS
from hyperion.web.problems import not_signed_in
from hyperion.web.together import Lookup
from hyperion.web.tokens import Claims

SQL = load_queries(__package__, "auth.sql")

COOKIE = "access_token"
COOKIE_LIFE_S = 3600
SESSION_USERS: web.AppKey[Lookup[tuple[str, str], Record]] = web.AppKey("session_users", Lookup)
_CLAIMS = web.RequestKey("claims", Claims)


class User(msgspec.Struct, frozen=True):
    """A user as the API shows one."""

    id: str
    email: str
    full_name: str
    language: str


@dataclass(frozen=True)
class Session:
    """A signed-in user and the token that says so.

    `photos_version` is the number of the last change of the user's photos, as it was before the request was
    looked at (sockets: 0).
    """

    user: User
    id: str
    jti: str
    expires_at: datetime
    photos_version: int = 0

    @property
    def claims(self) -> Claims:
        """What the token says."""
        return Claims(user_id=self.user.id, jti=self.jti, session_id=self.id, expires_at=self.expires_at)


async def authenticate(request: web.Request, token: str | None = None) -> Session:
    """Return the session of `token`, or else of the one that the request carries. Raises Problem 401.

    One query tells that the token is not revoked and its user still exists; requests that came in together
    share it. The session counts as seen.
    """
    claims = claimed(request, token)
    if claims is None:
        raise not_signed_in()
    row = await request.app[SESSION_USERS].ask((claims.jti, claims.user_id))
    found = _session(row, claims)
    await get_session(request)
    return found


async def read_session_users(db: Database, asked: Collection[tuple[str, str]]) -> dict[tuple[str, str], Record]:
    """Return the users of tokens that are not revoked, by the ids of token and user."""
    rows = await db.fetch(SQL.session_users, *map(list, zip(*asked, strict=True)))
    return {(row["jti"], row["id"]): row for row in rows}


async def authenticate_socket(request: web.Request) -> Session:
    """Return the session that may open a socket: of `?token=`, or else as `authenticate`. Raises Problem 401.

    A ticket in the URL is used up here, in one statement, so that of all processes one takes it. When
    the answer to that is lost the ticket is lost as well, and the client asks for another.
    """
    token = request.query.get("token")
    ticket = request.app[TOKENS].verify_ticket(token) if token else None
    if ticket is None:
        return await authenticate(request, token)
    session = ticket.session
    row = await request.app[DB].fetch_row(SQL.use_ticket, ticket.jti, ticket.expires_at, session.user_id, session.jti)
    found = _session(row, session)
    request[_CLAIMS] = session
    await get_session(request)  # it counts as seen
    return found


def claimed(request: web.Request, token: str | None = None) -> Claims | None:
    """Return what the request's token says, as far as its signature and times tell; None without one."""
    if token is None and _CLAIMS in request:
        return request[_CLAIMS]
    given = token or bearer(request) or request.cookies.get(COOKIE)
    claims = request.app[TOKENS].verify(given) if given else None
    if claims is not None:
        request[_CLAIMS] = claims
    return claims


def set_cookie(request: web.Request, response: web.Response, token: str) -> None:
    """Hand the token to the browser: to all sites over HTTPS, in development over HTTP to our own."""
    dev = request.app[SETTINGS].dev
    response.set_cookie(
        COOKIE,
        token,
        max_age=COOKIE_LIFE_S,
        path="/",
        httponly=True,
        secure=not dev,
        samesite="Lax" if dev else "None",
    )


def clear_cookie(request: web.Request, response: web.Response) -> None:
    """Take the cookie back; a browser only lets go of it under the attributes it was set with."""
    dev = request.app[SETTINGS].dev
    response.del_cookie(COOKIE, path="/", httponly=True, secure=not dev, samesite="Lax" if dev else "None")


def _session(row: Record | None, claims: Claims) -> Session:
    if row is None:
        raise not_signed_in()
    user = User(row["id"], row["email"], row["full_name"], row["language"])
    return Session(user, claims.session_id, claims.jti, claims.expires_at, row.get("photos_version", 0))


def bearer(request: web.Request) -> str | None:
    """Return the token of the request's Authorization header, if it has one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
