"""Messages to actors: rows, delivered at least once, announced by a wake-up."""

from hyperion.db import Database, load_queries

SQL = load_queries(__package__, "registry.sql")

MAIL_CHANNEL = "hyperion_mail"
VERBS = ("pause", "resume", "drain", "restart", "log_level")


async def send(db: Database, recipient: str, verb: str, argument: str | None = None) -> None:
    """Send one message to the actor with that label; `verb` is one of VERBS.

    `pause`: claim nothing more, also after a restart, until `resume`. `drain`: finish the work in
    hand, then stay down until `restart`. `restart`: hand the work back and begin a new life; it
    also wakes a parked actor. `log_level`: argument debug, info, warning or error.
    """
    await db.execute(SQL.send, recipient, verb, argument)
    await db.execute("SELECT pg_notify($1, $2)", MAIL_CHANNEL, recipient)


async def read(db: Database, recipients: list[str]) -> list[tuple[int, str, str, str | None]]:
    """List waiting messages as (id, recipient, verb, argument), the oldest first."""
    rows = await db.fetch(SQL.read_mail, recipients)
    return [(row["id"], row["recipient"], row["verb"], row["argument"]) for row in rows]


async def delete(db: Database, message_ids: list[int]) -> None:
    """Delete messages that were acted upon."""
    await db.execute(SQL.delete_mail, message_ids)


def is_for(heard: set[str], label: str) -> bool:
    """Tell whether the payloads of a wake-up concern `label`."""
    return label in heard or "" in heard
