"""Ids: UUID version 7 for photos, nanoids for users, random text for requests."""

import os
import secrets
import string
import threading
import time
from uuid import UUID

NANOID_LENGTH = 21
_NANOID_ALPHABET = string.ascii_letters + string.digits + "_-"  # 64 symbols, 126 bits


class Uuid7:
    """Makes UUIDs of version 7 (RFC 9562) that grow strictly within a process.

    48 bits of Unix milliseconds, then a 74-bit random field. Within one millisecond, or when the
    clock steps back, the field is counted up by a random step (section 6.2, method 2).
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew, as a forked child must: its siblings would count on from the same number."""
        self._lock = threading.Lock()
        self._last_ms = 0
        self._random = 0

    def __call__(self) -> UUID:
        """Return the next id."""
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            if now_ms > self._last_ms:
                # The top bit starts at zero, which leaves room to count up.
                self._last_ms, self._random = now_ms, secrets.randbits(73)
            else:
                self._random += 1 + secrets.randbits(32)
                if self._random >> 74:
                    self._last_ms, self._random = self._last_ms + 1, secrets.randbits(73)
            high, low = self._random >> 62, self._random & ((1 << 62) - 1)
            return UUID(int=self._last_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


uuid7 = Uuid7()
os.register_at_fork(after_in_child=uuid7.forget)


def nanoid() -> str:
    """Return 21 random URL-safe characters."""
    return "".join(secrets.choice(_NANOID_ALPHABET) for _ in range(NANOID_LENGTH))


def request_id() -> str:
    """Return a fresh id for a request."""
    return secrets.token_hex(8)
