"""The Postgres of one benchmark run: fresh databases, quiet starts, and what it costs in CPU."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from hyperion.db.embedded import EmbeddedPostgres


class Server:
    """One durable server for all systems, with a template database for each."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._number = 0

    def template(self, name: str) -> str:
        """Create the database that `fresh(name)` copies; return its URL, to be filled with a schema."""
        return self._postgres.ensure_database(f"template_{name}")

    @contextmanager
    def fresh(self, name: str) -> Iterator[str]:
        """Copy a template; yield the copy's URL; drop it."""
        self._number += 1
        database = f"bench_{self._number}"
        self._run(f"CREATE DATABASE {database} TEMPLATE template_{name}")
        try:
            yield self._postgres.url(database)
        finally:
            self._run(f"DROP DATABASE {database} WITH (FORCE)")

    def settle_down(self, url: str) -> None:
        """Vacuum, analyze and checkpoint, so that nobody pays for what was before."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def cpu_s(self) -> float:
        """CPU seconds used so far by all processes of the server, those that ended included."""
        postmaster = psutil.Process(self._postgres.pid)
        total = sum(postmaster.cpu_times()[:4])  # user, system, and both of children that ended
        for child in postmaster.children():
            with suppress(psutil.NoSuchProcess):
                total += sum(child.cpu_times()[:2])
        return float(total)

    def version(self) -> str:
        """Return the server's version."""
        with psycopg.connect(self._postgres.url()) as connection:
            return str(connection.execute("SHOW server_version").fetchall()[0][0])

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._postgres.url(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a durable server in a temporary folder; stop it and remove everything."""
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder), durable=True)
        postgres.start()
        try:
            yield Server(postgres)
        finally:
            postgres.stop()


@contextmanager
def old_snapshot(url: str) -> Iterator[None]:
    """Hold a snapshot as a forgotten session would: nothing that dies from now on can be vacuumed."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM pg_class")
        yield
        connection.rollback()
