"""Access tokens: signed, short-lived, each with an id by which it can be revoked."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
from cachetools import LRUCache

ALGORITHM = "HS256"
LIFE = timedelta(minutes=30)
ROOM = 4096


@dataclass(frozen=True)
class Claims:
    """What a valid token says: whose it is, its own id, and when it ends."""

    user_id: str
    jti: str
    expires_at: datetime


class Tokens:
    """Signs and verifies access tokens with one key.

    A token with an audience, such as one that is good for a WebSocket alone, is not an access token
    and is refused here.

    What a token was found to say is remembered, for the 4,096 used last: the same text under the same
    key says the same for ever. Only the time is looked at again.
    """

    def __init__(self, secret_key: str) -> None:
        self._key = secret_key
        self._verified: LRUCache[str, Claims] = LRUCache(maxsize=ROOM)

    def issue(self, user_id: str) -> str:
        """Return a token that is good for 30 minutes."""
        now = datetime.now(UTC)
        claims = {"sub": user_id, "jti": secrets.token_urlsafe(16), "iat": now, "exp": now + LIFE}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def verify(self, token: str) -> Claims | None:
        """Return what the token says, or None unless it is whole, ours, an access token and not expired."""
        claims = self._verified.get(token) or self._read(token)
        if claims is None or claims.expires_at <= datetime.now(UTC):
            return None
        self._verified[token] = claims
        return claims

    def _read(self, token: str) -> Claims | None:
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[ALGORITHM], options={"require": ["sub", "jti", "iat", "exp"]}
            )
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        except (jwt.InvalidTokenError, ValueError, OverflowError, OSError, TypeError, RecursionError):
            return None
        return Claims(user_id=claims["sub"], jti=claims["jti"], expires_at=expires_at)
