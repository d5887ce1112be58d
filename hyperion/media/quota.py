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
        allowance.check(files=row["photos"] + 1, size_bytes=row["kept_bytes"] + 1)


async def hold_to(tx: PhotoTransaction, user_id: str, allowance: Allowance) -> None:
    """Raise QuotaExceeded where the user keeps too much, with the photo that the transaction has added.

    Adding it has counted it and locked the count until the commit, so two photos at once never pass a
    limit together. Whoever raises must roll the transaction back.
    """
    row = await tx.connection.fetchrow(SQL.kept, user_id)
    assert row is not None
    allowance.check(files=row["photos"], size_bytes=row["kept_bytes"])
