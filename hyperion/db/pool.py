"""Connections to Postgres, and the one place where the driver's errors become ours."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal, Self

import asyncpg

from hyperion.db.connections import Connections
from hyperion.errors import CommitUncertain, DatabaseUnavailable

Record = asyncpg.Record
Connection = asyncpg.Connection
PreparedStatement = asyncpg.prepared_stmt.PreparedStatement

Isolation = Literal["read_committed", "repeatable_read"]

# What Postgres or the network says when the statement is not at fault.
_AWAY = (
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, cancelled, not accepting connections yet
    asyncpg.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.InvalidAuthorizationSpecificationError,  # a password that is being changed
    asyncpg.TransactionRollbackError,  # a deadlock: somebody had to give way
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that has just become a standby
    asyncpg.InvalidCatalogNameError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# A prepared statement is none any more: a migration changed what it returns, or somebody discarded it.
_STALE = (asyncpg.InvalidCachedStatementError, asyncpg.InvalidSQLStatementNameError)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise DatabaseUnavailable in place of the driver's errors that mean so."""
    try:
        yield
    except _AWAY as error:
        if _is_ours(error):
            raise
        raise _unavailable(error) from error


def _is_ours(error: Exception) -> bool:
    """Tell whether the driver complains of a wrong argument, which no waiting will mend."""
    return isinstance(error, asyncpg.InterfaceError) and (
        isinstance(error, ValueError) or "the server expects" in str(error)
    )


def _unreachable(error: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"no connection to Postgres: {type(error).__name__}: {error}".rstrip(": "))


def _unavailable(error: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"{type(error).__name__}: {error}".rstrip(": "))


# In SQL, because the driver's own transactions cannot send anything along with their COMMIT.
_BEGIN = {
    ("read_committed", False): "BEGIN;",
    ("read_committed", True): "BEGIN READ ONLY;",
    ("repeatable_read", False): "BEGIN ISOLATION LEVEL REPEATABLE READ;",
    ("repeatable_read", True): "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;",
}

# The queue's tables are empty one minute and hold a million rows the next. A plan that was made on the
# empty table would scan it for ever after, so its statements are planned once, by their indexes.
INDEX_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class Database:
    """A small pool of connections that fills on demand and survives the database going away.

    `index_plans` is for those who claim from the queue; see INDEX_PLANS.

    Every method raises DatabaseUnavailable when Postgres is away or does not answer in time.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        max_connections: int = 4,
        connect_timeout_s: float = 2.0,
        query_timeout_s: float = 30.0,
        index_plans: bool = False,
    ) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._query_timeout_s = query_timeout_s
        self._server_settings = {
            "application_name": f"hyperion {name}"[:63],
            "jit": "off",
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "15s",
            "statement_timeout": str(int(query_timeout_s * 1000)),
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        }
        if index_plans:
            self._server_settings |= INDEX_PLANS
        self._pool = Connections(self.connect, most=max_connections)
        self._held: list[HeldConnection] = []

    @property
    def in_use(self) -> int:
        """How many connections of the pool are borrowed at the moment."""
        return self._pool.in_use

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; those in use get a second to come home. May be called twice."""
        for held in self._held:
            held.drop()
        await self._pool.close()

    async def connect(self, *, durable: bool = True) -> Connection:
        """Open a connection outside the pool, for session state: LISTEN, advisory locks.

        Not `durable`: its commits do not wait for the disk, so a crash of the server may undo those
        of the last moments. Only for what the next life of the server may forget.
        """
        settings = self._server_settings if durable else self._server_settings | {"synchronous_commit": "off"}
        try:
            return await asyncpg.connect(
                self._url,
                timeout=self._connect_timeout_s,
                command_timeout=self._query_timeout_s,
                server_settings=settings,
            )
        except (OSError, *_AWAY) as error:
            raise _unreachable(error) from error

    @asynccontextmanager
    async def connection(self, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """Borrow a connection. Driver errors inside the block are translated too."""
        try:
            connection = await self._pool.borrow(timeout_s=timeout_s or self._connect_timeout_s * 2)
        except TimeoutError as error:
            raise _unreachable(error) from error
        try:
            with translated_errors():
                yield connection
        except (DatabaseUnavailable, asyncio.CancelledError):
            # Not lent again but dropped: an answer may still be under way, and waiting for it could take
            # for ever. What the statement did the server may still commit.
            connection.terminate()
            raise
        finally:
            self._pool.give_back(connection)

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = "read_committed",
        readonly: bool = False,
        then: Callable[[], str] = lambda: "",
    ) -> AsyncIterator[Connection]:
        """Run the block in a transaction; short, and awaiting nothing but the database.

        `then` is asked before the commit for statements that the server is to run right after it, as a
        transaction of their own that came in the same message. If they fail, the commit stands.

        Raises CommitUncertain where the connection is lost while the commit is under way, and where
        what came `then` failed. A block that swallowed the error of a statement cannot be committed:
        that raises the driver's InFailedSQLTransactionError, and nothing comes `then`.
        """
        async with self.connection() as connection:
            await connection.execute(_BEGIN[isolation, readonly])
            try:
                yield connection
            except asyncio.CancelledError:
                raise  # the connection is dropped, and with it the transaction
            except BaseException:
                with suppress(*_AWAY):
                    await connection.execute("ROLLBACK;")
                raise
            try:
                # Where a statement failed and the block went on, a lone COMMIT would roll back and not say so.
                await connection.execute(f"SELECT; COMMIT; {then()}")
            except (*_AWAY, asyncpg.ProgramLimitExceededError) as error:
                raise CommitUncertain(f"{type(error).__name__} while committing") from error

    def held(self, *, durable: bool = True) -> "HeldConnection":
        """Return a connection for one user who sends many statements; closed with the database.

        `durable` as with `connect`.
        """
        held = HeldConnection(self, durable=durable)
        self._held.append(held)
        return held

    async def fetch(self, query: str, *args: Any, timeout_s: float | None = None) -> list[Record]:
        """Run one statement on a borrowed connection; return its rows."""
        async with self.connection(timeout_s=timeout_s) as connection:
            return await connection.fetch(query, *args, timeout=timeout_s)

    async def fetch_row(self, query: str, *args: Any, timeout_s: float | None = None) -> Record | None:
        """Run one statement; return its first row, or None."""
        async with self.connection(timeout_s=timeout_s) as connection:
            return await connection.fetchrow(query, *args, timeout=timeout_s)

    async def fetch_value(self, query: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Run one statement; return the first column of its first row, or None."""
        async with self.connection(timeout_s=timeout_s) as connection:
            return await connection.fetchval(query, *args, timeout=timeout_s)

    async def execute(self, query: str, *args: Any, timeout_s: float | None = None) -> str:
        """Run one statement; return its command tag, say `DELETE 3`."""
        async with self.connection(timeout_s=timeout_s) as connection:
            return str(await connection.execute(query, *args, timeout=timeout_s))


class HeldConnection:
    """A connection that is kept, and its statements prepared, which saves most of what a short one costs its caller.

    It is opened by the first statement and again by the first after a failure. Statements of
    several tasks take turns.
    """

    def __init__(self, db: Database, *, durable: bool) -> None:
        self._db = db
        self._durable = durable
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._statements: dict[str, PreparedStatement] = {}

    async def fetch(self, query: str, *args: Any) -> list[Record]:
        """Run one statement; return its rows. Raises DatabaseUnavailable."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._db.connect(durable=self._durable)
                self._statements = {}
            try:
                statement = self._statements.get(query)
                if statement is None:
                    statement = self._statements[query] = await self._connection.prepare(query)
                return await statement.fetch(*args)
            except asyncio.CancelledError:
                self.drop()  # an answer may still be under way
                raise
            except asyncpg.DataError:
                self._statements.pop(query, None)  # a migration may have changed what it takes
                raise
            except (*_AWAY, *_STALE) as error:
                if _is_ours(error):
                    raise
                self.drop()
                raise _unavailable(error) from error

    def drop(self) -> None:
        """Close the connection at once; the next statement opens another."""
        if self._connection:
            self._connection.terminate()
        self._connection = None


def affected(command_tag: str) -> int:
    """Return how many rows a command tag such as `DELETE 3` speaks of."""
    return int(command_tag.rpartition(" ")[2])
