"""Access tokens: signed, short-lived, each with an id by which it can be revoked."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt

from hyperion.web.clock import Clock

ALGORITHM = "HS256"
LIFE = timedelta(minutes=30)


@dataclass(frozen=True)
class Claims:
    """What a valid token says: whose it is, its own id, and when it ends."""

    user_id: str
    jti: str
    expires_at: datetime


class Tokens:
    """Signs and verifies access tokens with one key, by one clock for all nodes.

    A token with an audience, such as one that is good for a WebSocket alone, is not an access token
    and is refused here.
    """

    def __init__(self, secret_key: str, clock: Clock | None = None) -> None:
        self._key = secret_key
        self._clock = clock or Clock()

    def issue(self, user_id: str) -> str:
        """Return a token that is good for 30 minutes."""
        now = self._clock.now()
        claims = {"sub": user_id, "jti": secrets.token_urlsafe(16), "iat": now, "exp": now + LIFE}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def verify(self, token: str) -> Claims | None:
        """Return what the token says, or None unless it is whole, ours, an access token and not expired."""
        try:
            # Without the times: they would be judged by this machine's clock.
            options = {"require": ["sub", "jti", "iat", "exp"], "verify_exp": False, "verify_iat": False}
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM], options=options)
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        except (jwt.InvalidTokenError, ValueError, OverflowError, OSError, TypeError, RecursionError):
            return None
        if expires_at <= self._clock.now():
            return None
        return Claims(user_id=claims["sub"], jti=claims["jti"], expires_at=expires_at)
