"""How many photos, and how many bytes of them, one user may keep."""

from dataclasses import dataclass

from hyperion.db import Database, load_queries
from hyperion.errors import QuotaExceeded
from hyperion.media.transaction import PhotoTransaction

SQL = load_queries(__package__, "quota.sql")


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What one user may keep."""

    files: int = 2**31
    size_bytes: int = 2**62

    def check(self, *, files: int, size_bytes: int) -> None:
        """Raise QuotaExceeded where so much is not allowed."""
        if files > self.files:
            raise QuotaExceeded(f"{self.files} photos")
        if size_bytes > self.size_bytes:
            raise QuotaExceeded(f"{self.size_bytes} bytes of photos")


NO_LIMIT = Allowance()


async def check(db: Database, user_id: str, allowance: Allowance) -> None:
    """Raise QuotaExceeded where the user may not keep even one byte more; a look, no promise."""
    row = await db.fetch_row(SQL.kept, user_id)
    if row is not None:
        allowance.check(files=row["kept_files"] + 1, size_bytes=row["kept_bytes"] + 1)


async def count(tx: PhotoTransaction, user_id: str, size_bytes: int, allowance: Allowance) -> None:
    """Count one more photo. Raises QuotaExceeded.

    Nothing of the user's can change from here until the commit, so it should be near: two photos at
    once never pass a limit together.
    """
    args = (user_id, size_bytes, allowance.files, allowance.size_bytes)
    if await tx.connection.fetchval(SQL.count_kept, *args) is None:
        row = await tx.connection.fetchrow(SQL.kept, user_id)
        files, kept_bytes = (row["kept_files"], row["kept_bytes"]) if row else (0, 0)
        allowance.check(files=files + 1, size_bytes=kept_bytes + size_bytes)


async def uncount(tx: PhotoTransaction, user_id: str, *, files: int, size_bytes: int) -> None:
    """Take back what was counted for photos that are deleted."""
    await tx.connection.execute(SQL.uncount_kept, user_id, files, size_bytes)
