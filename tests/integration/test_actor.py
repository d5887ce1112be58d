"""What every actor does when it ends: it obeys what it was told, and what it rang is sent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hyperion.actors import mailbox
from hyperion.actors.actor import EXIT_DRAINED, Actor
from hyperion.actors.specs import ActorSpec, Life
from hyperion.db import Database
from hyperion.errors import DatabaseUnavailable
from hyperion.queue import Wakeup
from hyperion.settings import Settings, load
from tests.until import until

CHANNEL = "hyperion_test"
READY = "SELECT count(*) FROM actor WHERE state = 'ready'"
LONG_S = 10


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return load({"DATABASE_URL": database_url, "SECRET_KEY": "k" * 32, "HYPERION_VAR": str(tmp_path)})


class Ringing(Actor):
    """Works until it is drained; then it rings, and rings once more within milliseconds."""

    async def work(self) -> None:
        self.mark_ready()
        await self.draining.wait()
        self.wakeup.ring(CHANNEL, "first")
        while self.wakeup._to_send or self.wakeup._is_sending:
            await asyncio.sleep(0)
        self.wakeup.ring(CHANNEL, "last")


@asynccontextmanager
async def living(settings: Settings, db: Database) -> AsyncIterator[asyncio.Task[int]]:
    spec = ActorSpec("Helios", "worker")
    actor = Ringing(Life(spec=spec, node="n1", label="Helios", boot=1, restarts=0), settings)
    life = asyncio.create_task(actor.main())
    await until(lambda: db.fetch_value(READY))
    yield life
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)


async def test_a_drain_is_obeyed_although_the_answer_to_its_deletion_is_lost(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = mailbox.delete

    async def lossy(db: Database, message_ids: Sequence[int]) -> None:
        monkeypatch.setattr(mailbox, "delete", delete)
        await delete(db, list(message_ids))
        raise DatabaseUnavailable("the answer was lost")

    async with living(settings, db) as life:
        monkeypatch.setattr(mailbox, "delete", lossy)

        await mailbox.send(db, "Helios", "drain")

        assert await asyncio.wait_for(life, LONG_S) == EXIT_DRAINED


async def test_what_an_actor_rings_at_its_end_is_sent(db: Database, settings: Settings) -> None:
    listener = Wakeup(db)
    bell = listener.bell(CHANNEL)
    listening = asyncio.create_task(listener.run())
    await bell.wait(LONG_S)
    async with living(settings, db) as life:
        await mailbox.send(db, "Helios", "drain")
        await asyncio.wait_for(life, LONG_S)

    heard: set[str] = set()
    while "last" not in heard:
        heard |= await bell.wait(LONG_S) or {"last", "nothing any more"}
    listening.cancel()
    assert heard == {"first", "last"}
