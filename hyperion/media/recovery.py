"""What happens to photos when the task about them is taken from a dead owner, or gives up."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from hyperion import queue
from hyperion.db import Database
from hyperion.errors import PhotoGone, StatusConflict
from hyperion.media import photos
from hyperion.media.transaction import ARCHIVE_LANE, PhotoTransaction, photo_transaction
from hyperion.queue import Rescued, Wakeup

# The archiver only hands bytes on, hundreds of photos at a time: when it dies none of them is to blame.
BLAMELESS = (ARCHIVE_LANE,)


@dataclass(frozen=True)
class Recovery:
    """How many tasks went back into the line, and how many were given up."""

    returned: int
    dead: int


async def rescue_boots(
    db: Database, wakeup: Wakeup, boots: Sequence[int], *, who: str, max_crashes: int, is_crash: bool = True
) -> Recovery:
    """Free what dead processes were working on, at once. `who` names them in the history.

    Without `is_crash` they ended in order, and no task is blamed.
    """
    async with photo_transaction(db, wakeup) as tx:
        reason = f"{who} died while working on it" if is_crash else f"handed back for {who}"
        rescued = await queue.rescue_boots(
            tx.connection, boots, max_crashes=max_crashes, reason=reason, is_crash=is_crash, blameless=BLAMELESS
        )
        return await _settle(tx, rescued, reason)


async def rescue_lost(db: Database, wakeup: Wakeup, *, silent_s: float, max_crashes: int) -> Recovery:
    """Free what nobody answers for any more."""
    async with photo_transaction(db, wakeup) as tx:
        reason = "its worker fell silent"
        rescued = await queue.rescue_lost(
            tx.connection, silent_s=silent_s, max_crashes=max_crashes, reason=reason, blameless=BLAMELESS
        )
        return await _settle(tx, rescued, reason)


async def revive(db: Database, wakeup: Wakeup, task_ids: Sequence[int]) -> int:
    """Bring dead tasks back, and the photos that failed with them; return how many."""
    async with photo_transaction(db, wakeup) as tx:
        revived = await queue.revive(tx.connection, task_ids)
        for task in revived:
            tx.has_work(task.lane)
        await photos.lock_all(tx, [task.item for task in revived if task.item])
        for task in sorted(revived, key=lambda task: str(task.item)):
            if task.item:
                with suppress(PhotoGone, StatusConflict):
                    await photos.reopen(tx, task.item, reason="tried again by an operator")
    return len(revived)


async def task_died(tx: PhotoTransaction, item: UUID | None, *, reason: str) -> None:
    """Make the photo of a task that gave up FAILED."""
    if item:
        await photos.give_up(tx, [item], reason=reason)


async def _settle(tx: PhotoTransaction, rescued: Sequence[Rescued], reason: str) -> Recovery:
    for task in rescued:
        if not task.is_dead:
            tx.has_work(task.lane)
    returned = [task.item for task in rescued if task.item and not task.is_dead]
    dead = [task.item for task in rescued if task.item and task.is_dead]
    if returned and dead:
        await photos.lock_all(tx, returned + dead)
    await photos.abandon(tx, returned, reason=reason)
    await photos.give_up(tx, dead, reason=f"{reason}, {max(t.crashes for t in rescued)} times" if dead else reason)
    return Recovery(returned=sum(not t.is_dead for t in rescued), dead=sum(t.is_dead for t in rescued))
