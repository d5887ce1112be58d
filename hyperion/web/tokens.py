"""Access tokens and tickets for sockets: signed, short-lived, each with an id by which it can be revoked."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cachetools import LRUCache
from jwt.types import Options

from hyperion.web.clock import Clock

ALGORITHM = "HS256"
LIFE = timedelta(minutes=30)
TICKET_LIFE = timedelta(seconds=60)
TICKET_AUDIENCE = "ws"
ROOM = 4096


# What PyJWT and the conversion of times raise for what somebody else made up.
_UNUSABLE = (jwt.InvalidTokenError, LookupError, ValueError, OverflowError, OSError, TypeError, RecursionError)


@dataclass(frozen=True)
class Claims:
    """What a valid token says: whose it is, its own id, the session that it carries on, and when it ends."""

    user_id: str
    jti: str
    session_id: str
    expires_at: datetime


@dataclass(frozen=True)
class Ticket:
    """What a valid ticket says: its own id, when it ends, and what it was given for."""

    jti: str
    expires_at: datetime
    session: Claims


class Tokens:
    """Signs and verifies with one key, by one clock for all nodes.

    A ticket has an audience, which access tokens have not, so neither passes for the other.

    What an access token was found to say is remembered, for the 4,096 used last: the same text under
    the same key says the same for ever. Only the time is looked at again.
    """

    def __init__(self, secret_key: str, clock: Clock | None = None) -> None:
        self._key = secret_key
        self._clock = clock or Clock()
        self._verified: LRUCache[str, Claims] = LRUCache(maxsize=ROOM)

    def issue(self, user_id: str, *, session_id: str | None = None) -> str:
        """Return a token that is good for 30 minutes; without `session_id` it begins a session."""
        now = self._clock.now()
        jti = secrets.token_urlsafe(16)
        claims = {"sub": user_id, "jti": jti, "sid": session_id or jti, "iat": now, "exp": now + LIFE}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def verify(self, token: str) -> Claims | None:
        """Return what the token says, or None unless it is whole, ours, an access token and not expired."""
        claims = self._verified.get(token) or self._read(token)
        if claims is None or claims.expires_at <= self._clock.now():
            return None
        self._verified[token] = claims
        return claims

    def _read(self, token: str) -> Claims | None:
        try:
            return _claims(self._decode(token, ["sub", "jti", "iat", "exp"]))
        except _UNUSABLE:
            return None

    def issue_ticket(self, session: Claims) -> str:
        """Return a token that opens one WebSocket within 60 s, but never lets a session last longer."""
        now = self._clock.now()
        claims = {
            "sub": session.user_id,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": min(now + TICKET_LIFE, session.expires_at),
            "aud": TICKET_AUDIENCE,
            "session": {
                "sub": session.user_id,
                "jti": session.jti,
                "sid": session.session_id,
                "exp": int(session.expires_at.timestamp()),
            },
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def verify_ticket(self, token: str) -> Ticket | None:
        """Return what the ticket says, or None unless it is whole, ours, a ticket and not expired.

        Whether it was used before, the database knows.
        """
        try:
            claims = self._decode(token, ["jti", "iat", "exp", "aud", "session"], audience=TICKET_AUDIENCE)
            ticket = Ticket(claims["jti"], datetime.fromtimestamp(claims["exp"], UTC), _claims(claims["session"]))
        except _UNUSABLE:
            return None
        return None if ticket.expires_at <= self._clock.now() else ticket

    def _decode(self, token: str, required: list[str], *, audience: str | None = None) -> dict[str, Any]:
        # Without the times: PyJWT would judge them by this machine's clock.
        options: Options = {"require": required, "verify_exp": False, "verify_iat": False}
        return jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=audience, options=options)


def _claims(said: dict[str, Any]) -> Claims:
    session_id = said.get("sid", said["jti"])  # older tokens have none
    if not all(isinstance(text, str) and text.isprintable() for text in (said["sub"], said["jti"], session_id)):
        raise ValueError("these are no ids")  # Postgres would refuse the query that looks up this token and others
    expires_at = datetime.fromtimestamp(said["exp"], UTC)
    return Claims(user_id=said["sub"], jti=said["jti"], session_id=session_id, expires_at=expires_at)
