"""The archiver: takes photos from the database into the store, and removes what was deleted."""

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from uuid import UUID

from hyperion import logs, queue
from hyperion.actors.claiming import ClaimingActor
from hyperion.actors.specs import Life
from hyperion.db.leader import while_leader
from hyperion.errors import LeaseLost, StoreUnavailable
from hyperion.media import photos
from hyperion.media.store import Item, LocalStore
from hyperion.media.transaction import ARCHIVE_LANE, PhotoTransaction
from hyperion.queue import Lease
from hyperion.settings import Settings

log = logs.get_logger()

LEADER_KEY = "hyperion:store"
FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 60.0
FOR_EVER = 1_000_000


class Archiver(ClaimingActor):
    """The one committer of the store in the whole cluster; the others stand by.

    Killed at any point it leaves a lease behind, and storing or removing again is harmless.
    """

    lane = ARCHIVE_LANE

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self._store = LocalStore(settings.store_dir)
        self._spool = settings.var_dir / "spool"
        self._spool.mkdir(parents=True, exist_ok=True)
        self._pause_s = FIRST_PAUSE_S

    async def work(self) -> None:
        """Store and erase until drained or cancelled."""
        self.mark_ready()
        await while_leader(self.db, LEADER_KEY, self._archive, until=self.draining)

    async def _archive(self) -> None:
        await self._store.sweep()
        while leases := await self.next_leases(self.settings.archive_batch):
            try:
                await self._handle(leases)
            except LeaseLost as error:
                log.warning("lease.lost", task_id=error.task_id)
            except asyncio.CancelledError:
                await self.hand_back(leases)
                raise
            except (StoreUnavailable, OSError) as error:  # OSError: the spool's disk
                await self.hand_back(leases)
                log.error("store.unavailable", reason=str(error), retry_s=self._pause_s)
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)
            else:
                self._pause_s = FIRST_PAUSE_S
            finally:
                self.forget(leases)
                self.show_task(None)

    async def _handle(self, leases: list[Lease]) -> None:
        """Store the batch's photos, then erase: what is both was stored first."""
        self.show_task(leases[0].task_id, "ARCHIVING")
        arriving = [lease for lease in leases if lease.kind == "archive"]
        leaving = [lease for lease in leases if lease.kind == "erase"]
        if arriving:
            await self._put(arriving)
        if leaving:
            await self._erase(leaving)

    async def _put(self, leases: list[Lease]) -> None:
        with tempfile.TemporaryDirectory(dir=self._spool, prefix="archive-") as folder:
            items = await self._collect(leases, Path(folder))
            spoilt = await self._put_items(items)
        if spoilt and len(spoilt) == len(items) and all(map(_is_stores_fault, spoilt.values())):
            raise next(iter(spoilt.values()))
        for lease in leases:
            if lease.item in spoilt:
                await self._fail_to_store(lease, spoilt[lease.item])
                del items[lease.item]
        settled = [lease for lease in leases if lease.item not in spoilt]

        async def write(tx: PhotoTransaction) -> None:
            await queue.finish(tx.connection, settled)
            existing = await photos.store_done(tx, list(items))
            # Deleted while it was being stored: its erasure may have come too early.
            orphans = [item for media_id, item in items.items() if media_id not in existing]
            await tx.enqueue([photos.erase_task(item.path) for item in orphans])
            await self.count(tx, done=len(settled))

        await self.write(write)
        log.info("photo.stored", count=len(items))

    async def _put_items(self, items: dict[UUID, Item]) -> dict[UUID, Exception]:
        """Store the items, in one go if possible, else one by one; return those that failed."""
        try:
            await self._store.put_many(list(items.values()))
        except Exception as error:  # noqa: BLE001  (whatever it is, it must not spoil the others)
            if len(items) == 1:
                return dict.fromkeys(items, error)
            log.warning("store.batch_failed", photos=len(items), reason=f"{type(error).__name__}: {error}")
            spoilt: dict[UUID, Exception] = {}
            for media_id, item in items.items():
                spoilt |= await self._put_items({media_id: item})
            return spoilt
        return {}

    async def _fail_to_store(self, lease: Lease, error: Exception) -> None:
        """Try one photo again later: for ever where the store refuses it, else as often as any task."""
        log.error("store.put_failed", media_id=str(lease.item), reason=f"{type(error).__name__}: {error}")
        attempts = FOR_EVER if _is_stores_fault(error) else None
        await self.fail(lease, error=f"{type(error).__name__}: {error}", max_attempts=attempts)

    async def _collect(self, leases: list[Lease], folder: Path) -> dict[UUID, Item]:
        """Copy the batch's bytes to files; photos that are deleted by now are left out."""
        items: dict[UUID, Item] = {}
        for number, lease in enumerate(leases):
            assert lease.item is not None
            source = folder / str(number)
            path = await self.patiently(partial(photos.find_path, self.db, lease.item))
            has_bytes = await self.patiently(partial(photos.copy_blob, self.db, lease.item, source))
            if path and has_bytes:
                items[lease.item] = Item(path, source)
        return items

    async def _erase(self, leases: list[Lease]) -> None:
        try:
            await self._store.delete_many([lease.payload["path"] for lease in leases])
        except (StoreUnavailable, OSError):
            raise
        except Exception as error:
            log.exception("store.erase_failed", files=len(leases))
            for lease in leases:  # a deleted photo's file is gone for, however long it takes
                await self.fail(lease, error=f"{type(error).__name__}: {error}", max_attempts=FOR_EVER)
            return

        async def write(tx: PhotoTransaction) -> None:
            await queue.finish(tx.connection, leases)
            await self.count(tx, done=len(leases))

        await self.write(write)
        log.info("photo.erased", count=len(leases))


def _is_stores_fault(error: Exception) -> bool:
    """Tell whether the store or a disk is at fault, and not the photo."""
    return isinstance(error, StoreUnavailable | OSError)
