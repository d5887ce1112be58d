"""Access tokens: signed, short-lived, each with an id by which it can be revoked."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt

ALGORITHM = "HS256"
LIFE = timedelta(minutes=30)


@dataclass(frozen=True)
class Claims:
    """What a valid token says: whose it is, its own id, the session that it carries on, and when it ends."""

    user_id: str
    jti: str
    session_id: str
    expires_at: datetime


class Tokens:
    """Signs and verifies access tokens with one key.

    A token with an audience, such as one that is good for a WebSocket alone, is not an access token
    and is refused here.
    """

    def __init__(self, secret_key: str) -> None:
        self._key = secret_key

    def issue(self, user_id: str, *, session_id: str | None = None) -> str:
        """Return a token that is good for 30 minutes; without `session_id` it begins a session."""
        now = datetime.now(UTC)
        jti = secrets.token_urlsafe(16)
        claims = {"sub": user_id, "jti": jti, "sid": session_id or jti, "iat": now, "exp": now + LIFE}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def verify(self, token: str) -> Claims | None:
        """Return what the token says, or None unless it is whole, ours, an access token and not expired."""
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[ALGORITHM], options={"require": ["sub", "jti", "iat", "exp"]}
            )
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        except (jwt.InvalidTokenError, ValueError, OverflowError, OSError, TypeError, RecursionError):
            return None
        session_id = claims.get("sid", claims["jti"])  # older tokens have none
        return Claims(user_id=claims["sub"], jti=claims["jti"], session_id=session_id, expires_at=expires_at)
