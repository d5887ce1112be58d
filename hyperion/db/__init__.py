"""Postgres: connections, transactions, named queries, migrations and the embedded server."""

from hyperion.db.pool import Connection, Database, HeldConnection, Record
from hyperion.db.queries import load_queries

__all__ = ["Connection", "Database", "HeldConnection", "Record", "load_queries"]
