"""What is known of the store, as a row that outlives the archiver and that everybody may read."""

from dataclasses import dataclass
from datetime import datetime

from hyperion.db import Connection, Database, load_queries

SQL = load_queries(__package__, "state.sql")


@dataclass(frozen=True)
class StoreState:
    """How the store is doing: `ready`, `throttled`, `refused` or `away`, why, and until when."""

    state: str = "ready"
    detail: str | None = None
    resumes_at: datetime | None = None


@dataclass(frozen=True)
class Known:
    """What an earlier archiver left. Seconds from now; for `doubt_s` a commit may still come."""

    state: str
    detail: str | None
    pause_s: float
    full_in_s: float
    doubt_s: float


async def load(db: Database, name: str, *, late_s: float) -> Known:
    """Read what is known of a store; one that is new is ready. Raises DatabaseUnavailable.

    Of a commit that its archiver did not outlive nothing is known for `late_s` seconds from now.
    """
    row = await db.fetch_row(SQL.load, name, late_s)
    assert row is not None
    return Known(row["state"], row["detail"], row["pause_s"] or 0.0, row["full_in_s"], row["doubt_s"])


async def report(
    db: Database, name: str, state: str, detail: str | None = None, *, pause_s: float | None = None
) -> None:
    """Let everybody see how the store is doing."""
    await db.execute(SQL.report, name, state, detail, pause_s)


async def begin_commit(db: Database, name: str, *, interval_s: float) -> None:
    """Spend one commit, and remember that its end is not known."""
    await db.execute(SQL.begin_commit, name, interval_s)


async def end_commit(connection: Connection | Database, name: str, *, doubt_s: float | None = None) -> None:
    """Write down that a commit has ended, or for how long nobody knows."""
    await connection.execute(SQL.end_commit, name, doubt_s)


async def show(db: Database, name: str) -> StoreState:
    """Return how the store is doing; one that nobody has written about is ready."""
    row = await db.fetch_row(SQL.show, name)
    return StoreState(row["state"], row["detail"], row["resumes_at"]) if row else StoreState()
