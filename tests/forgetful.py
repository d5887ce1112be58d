"""A database whose answers get lost: what it was told is done, and who asked never hears of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hyperion.db import Connection, Database
from hyperion.errors import CommitUncertain, DatabaseUnavailable


class ForgetfulDatabase(Database):
    """Loses the answer to every statement and commit while `is_forgetful`."""

    is_forgetful = False

    async def __aenter__(self) -> "ForgetfulDatabase":
        return self

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Connection]:
        async with super().transaction(**options) as connection:
            yield connection
        if self.is_forgetful:
            raise CommitUncertain("lost on purpose")

    async def execute(self, query: str, *args: Any, timeout_s: float | None = None) -> str:
        tag = await super().execute(query, *args, timeout_s=timeout_s)
        if self.is_forgetful:
            raise DatabaseUnavailable("lost on purpose")
        return tag
