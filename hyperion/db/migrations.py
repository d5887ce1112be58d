"""Bring the schema to the version that this program needs, with yoyo."""

from pathlib import Path

from hyperion.db.pool import Database

FOLDER = Path(__file__).parents[2] / "sql" / "migrations"
_LOCK_KEY = "hyperion:migrations"


def needed() -> list[str]:
    """List the ids of all migrations that this program brings, oldest first.

    Raises FileNotFoundError where they are missing: no migrations would look like all applied.
    """
    found = sorted(path.stem for path in FOLDER.glob("*.sql") if not path.stem.endswith(".rollback"))
    if not found:
        raise FileNotFoundError(f"there are no migrations in {FOLDER}; run Hyperion from its source tree")
    return found


async def pending(db: Database) -> list[str]:
    """List the ids of the migrations that the database lacks. Raises DatabaseUnavailable."""
    if not await db.fetch_value("SELECT to_regclass('_yoyo_migration') IS NOT NULL"):
        return needed()
    applied = {row[0] for row in await db.fetch("SELECT migration_id FROM _yoyo_migration")}
    return [name for name in needed() if name not in applied]


def apply(url: str) -> list[str]:
    """Apply what is pending and return the ids. Two programs that do this at once take turns.

    yoyo's own lock is a row that a killed process leaves behind. An advisory lock ends with its
    connection, so under it any row that is found is stale.
    """
    import psycopg  # noqa: PLC0415  (imported by the one process that migrates, not by all)
    import yoyo  # noqa: PLC0415

    with psycopg.connect(url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (_LOCK_KEY,))
        migrations = yoyo.read_migrations(str(FOLDER))
        with yoyo.get_backend(_yoyo_url(url), migration_table="_yoyo_migration") as backend:
            backend.break_lock()
            to_apply = backend.to_apply(migrations)
            backend.apply_migrations(to_apply)
            return [migration.id for migration in to_apply]


def roll_back(url: str) -> list[str]:
    """Undo every migration, newest first, and return the ids. All data is lost."""
    import yoyo  # noqa: PLC0415

    migrations = yoyo.read_migrations(str(FOLDER))
    with yoyo.get_backend(_yoyo_url(url), migration_table="_yoyo_migration") as backend:
        to_undo = backend.to_rollback(migrations)
        backend.rollback_migrations(to_undo)
        return [migration.id for migration in to_undo]


def _yoyo_url(url: str) -> str:
    return "postgresql+psycopg://" + url.partition("://")[2]
