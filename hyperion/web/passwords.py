"""Password hashes: bcrypt over a digest, in threads of its own."""

import asyncio
import base64
import hashlib
import os
import secrets
import string
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

import bcrypt

from hyperion.web.problems import unavailable

R = TypeVar("R")
Args = TypeVarTuple("Args")
ROUNDS = 12
MOST_WAITING = 200  # about as many as are done before their clients give up
_ALPHABET = string.ascii_letters + string.digits + "./"


class Passwords:
    """Hashes and checks passwords off the event loop, a few at a time.

    bcrypt looks at 72 bytes and stops at a NUL, so it is given the base64 of the SHA-256 of the
    whole password (44 bytes, no NUL). NFC first: the same characters typed on two keyboards may be
    different bytes. `rounds` is bcrypt's cost, the logarithm of its work; tests lower it.
    """

    def __init__(self, *, rounds: int = ROUNDS) -> None:
        self._rounds = rounds
        self._waiting = 0
        # One core stays free for the event loop, which is what everybody else waits for.
        self._threads = ThreadPoolExecutor(
            max_workers=max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="hyperion-bcrypt"
        )
        # A hash that no password is known for: it costs a check what any other does.
        self._nobodys_hash = bcrypt.gensalt(rounds).decode() + "".join(secrets.choice(_ALPHABET) for _ in range(31))

    async def hash(self, password: str) -> str:
        """Return a hash to keep. Raises Problem 503 when too many wait."""
        return await self._in_thread(self._hash, password)

    async def matches(self, password: str, kept_hash: str | None) -> bool:
        """Tell whether the password is the one that was hashed.

        None stands for an account that does not exist: it takes as long and is never right. Raises
        Problem 503 when too many wait.
        """
        right = await self._in_thread(self._check, password, kept_hash)
        return right and kept_hash is not None

    def close(self) -> None:
        """End the threads once they are done with what they are at."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[*Args], R], *args: *Args) -> R:
        if self._waiting >= MOST_WAITING:
            raise unavailable("busy", "Too many are signing in right now.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._waiting -= 1

    def _check(self, password: str, kept_hash: str | None) -> bool:
        return bcrypt.checkpw(_digest(password), (kept_hash or self._nobodys_hash).encode())

    def _hash(self, password: str) -> str:
        return bcrypt.hashpw(_digest(password), bcrypt.gensalt(self._rounds)).decode()


def _digest(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(unicodedata.normalize("NFC", password).encode()).digest())
