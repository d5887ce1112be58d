"""The archiver: takes photos from the database into the store, and removes what was deleted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial

from hyperion import logs, queue
from hyperion.actors import batching
from hyperion.actors.batching import Step
from hyperion.actors.claiming import FOR_EVER, HAND_BACK_LIMIT_S, ClaimingActor
from hyperion.actors.pace import Pace, patience_of
from hyperion.actors.specs import Life
from hyperion.actors.spool import Spool
from hyperion.db.leader import while_leader
from hyperion.errors import BatchRefused, LeaseLost, StorePaused, StoreUnavailable
from hyperion.media import photos
from hyperion.media.store import Item, Layered, make_store, state
from hyperion.media.transaction import ARCHIVE_LANE, PhotoTransaction
from hyperion.queue import Lease
from hyperion.settings import Settings

log = logs.get_logger()

LEADER_KEY = "hyperion:store"
SUSPICIOUS = 3  # so many photos not taken one by one, and no other taken: it is not the photos
MAY_COME_BACK = "a commit of which the end is not known may bring it back"

Leases = dict[int, Lease]


class Archiver(ClaimingActor):
    """The one committer of the store in the whole cluster; the others stand by.

    Killed at any point it leaves leases behind, and storing or removing again is harmless.
    """

    lane = ARCHIVE_LANE

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self._store = make_store(settings)
        # One folder for all lives: whoever is killed leaves one batch at most, until the next begins.
        folder = settings.var_dir / "spool" / f"{life.label}.batch"
        self._spool = Spool(folder, self.db, self._store, patiently=self.patiently)
        self._has_taken = False
        self._pace = Pace(
            self.db, self._store, patience=patience_of(settings), patiently=self.patiently, has_work=self._has_work
        )

    async def work(self) -> None:
        """Store and erase until drained or cancelled."""
        self.mark_ready()
        try:
            await while_leader(self.db, LEADER_KEY, self._archive, until=self.draining)
        finally:
            await self._store.close()

    async def _archive(self) -> None:
        await self._pace.load()
        try:
            await asyncio.to_thread(self._spool.make_empty)
            await self._store.sweep()
        except (StoreUnavailable, OSError) as error:
            await self._give_pause(error)
        while leases := await self._gather():
            await self._handle(leases)

    async def _gather(self) -> list[Lease]:
        """Lease what goes into the next commits: when the store may be written to, and after a moment
        in which more may come. An empty list when draining.
        """
        await self._pace.turn(draining=self.draining)
        leases = await self.next_leases(self._most())
        if leases and len(leases) < self._most() and self._store.limits.linger_s:
            try:
                await asyncio.sleep(self._store.limits.linger_s)
                missing = self._most() - len(leases)
                leases += await self.patiently(lambda: self._claimer.claim(missing))
            except asyncio.CancelledError:
                await self.hand_back(leases)
                raise
        return leases

    async def _handle(self, leases: list[Lease]) -> None:
        """Settle every lease, or hand it back."""
        self.show_task(leases[0].task_id, "ARCHIVING")
        open_leases = {lease.task_id: lease for lease in leases}
        try:
            for batch in await self._plan(leases, open_leases):
                await self._carry_out(batch, open_leases)
        except asyncio.CancelledError:
            await self.hand_back(list(open_leases.values()))
            raise
        except (StoreUnavailable, OSError) as error:  # OSError: the spool's disk
            await self.hand_back(list(open_leases.values()))
            await self._give_pause(error)
        finally:
            self.forget(leases)
            self.show_task(None)

    async def _plan(self, leases: list[Lease], open_leases: Leases) -> list[list[Step]]:
        """Say what is to be done, in batches; tasks about photos that are gone by now are finished."""
        if not isinstance(self._store, Layered):
            leases = await self._refuse_moves(leases, open_leases)
        asked = [batching.media_of(lease) for lease in leases]
        found = await self.patiently(lambda: photos.find_paths(self.db, [each for each in asked if each]))
        steps = [step for lease in leases if (step := batching.step_of(lease, found)) is not None]
        planned = {lease.task_id for step in steps for lease in step.leases}
        await self._settle([lease for lease in leases if lease.task_id not in planned], open_leases)
        size = self._pace.size
        size_bytes = size.size_bytes(is_scarce=self._pace.is_scarce)
        return batching.cut(batching.collapse(steps), files=self._most(), size_bytes=size_bytes)

    async def _refuse_moves(self, leases: list[Lease], open_leases: Leases) -> list[Lease]:
        """Leave moves to a life that sees the folder to move from; return the other tasks."""
        moves = [lease for lease in leases if lease.kind == "move"]
        if moves:
            log.warning("store.move_postponed", photos=len(moves))
        for lease in moves:
            await self._try_again(lease, error="the archiver sees no local store", attempts=FOR_EVER, among=open_leases)
        return [lease for lease in leases if lease.kind != "move"]

    async def _carry_out(self, batch: Sequence[Step], open_leases: Leases) -> None:
        """Do a batch. What cannot be done for its own fault is tried again later, each by itself."""
        self._has_taken = False
        spoilt: list[tuple[Step, Exception]] = []
        await self._commit_or_split(batch, open_leases, spoilt)
        if not self._has_taken and all(batching.may_be_stores_fault(step, error) for step, error in spoilt):
            raise batching.taking_nothing(spoilt[0][1])
        for step, error in spoilt:
            await self._fail(step, error, open_leases)

    async def _commit_or_split(
        self, batch: Sequence[Step], open_leases: Leases, spoilt: list[tuple[Step, Exception]]
    ) -> None:
        """Do a batch in one commit if the store takes it so, else in smaller and smaller ones."""
        try:
            await self._commit(batch, open_leases)
        except StorePaused:
            raise
        except Exception as error:
            if isinstance(error, BatchRefused) and error.is_too_large:
                self._pace.size.was_too_large()
            if len(batch) > 1:
                log.warning("store.batch_failed", photos=len(batch), reason=batching.reason_of(error))
                for half in batching.halves(batch):
                    await self._commit_or_split(half, open_leases, spoilt)
                return
            spoilt.append((batch[0], error))
            if not batching.is_stores_fault(error) and len(spoilt) >= SUSPICIOUS and not self._has_taken:
                raise batching.taking_nothing(error) from error
        else:
            self._has_taken = True

    async def _commit(self, batch: Sequence[Step], open_leases: Leases) -> None:
        """Do a batch in one commit and settle its tasks."""
        await self._pace.turn()
        deletes = [step.path for step in batch if step.is_delete]
        async with AsyncExitStack() as stack:
            puts = await self._spool.collect(batch, stack)
            stored = [step for _, step in puts]
            if not puts and not deletes:
                await self._settle([lease for step in batch for lease in step.leases], open_leases)
                return
            is_doubtful = self._pace.is_doubtful
            settle = partial(self._settle_batch, batch, stored, open_leases, is_doubtful=is_doubtful)
            await self._apply([item for item, _ in puts], deletes, settle, is_doubtful=is_doubtful)
        await settle()
        await self._pace.went_through()
        if stored:
            log.info("photo.stored", count=len(stored))
        if deletes:
            log.info("photo.erased", count=len(deletes))

    async def _apply(
        self, puts: list[Item], deletes: list[str], settle: Callable[[], Awaitable[None]], *, is_doubtful: bool
    ) -> None:
        """Have the store make a commit. When told to stop meanwhile, wait a little for its end and settle."""
        await self._pace.begin()
        applying = asyncio.create_task(self._store.apply(puts, deletes, is_doubtful=is_doubtful))
        try:
            await asyncio.shield(applying)
        except asyncio.CancelledError:
            if await self._ended_in_time(applying):
                with suppress(TimeoutError):
                    async with asyncio.timeout(HAND_BACK_LIMIT_S):
                        await settle()
            raise
        except Exception as error:
            is_unclear = getattr(error, "is_unclear", not isinstance(error, FileNotFoundError))
            await self._pace.failed(is_unclear=is_unclear)
            raise

    async def _ended_in_time(self, applying: asyncio.Task[None]) -> bool:
        """Wait for a commit under way, not for ever; tell whether it took place. Else nobody knows."""
        done, _ = await asyncio.wait({applying}, timeout=self.settings.hub_stop_s)
        if done:
            return applying.exception() is None
        applying.cancel()
        log.warning("store.left_in_doubt", waited_s=self.settings.hub_stop_s)
        return False

    async def _settle_batch(
        self, batch: Sequence[Step], stored: Sequence[Step], open_leases: Leases, *, is_doubtful: bool
    ) -> None:
        """Settle the tasks of a commit that took place.

        While one before it may still come, what was removed may be put back by that, so it is
        removed once more after it.
        """
        moved = [step.path for step in stored if step.is_move]
        if moved and isinstance(self._store, Layered):
            await self._store.behind.delete_many(moved)
        leases = [lease for step in batch for lease in step.leases]
        repeated = [lease for lease in leases if is_doubtful and lease.kind == "erase"]
        await self._settle(leases, open_leases, stored=stored, repeated=repeated, has_committed=True)

    async def _settle(
        self,
        leases: Sequence[Lease],
        open_leases: Leases,
        *,
        stored: Sequence[Step] = (),
        repeated: Sequence[Lease] = (),
        has_committed: bool = False,
    ) -> None:
        """Finish the tasks that are still ours, and write down what the store has by them.

        Those `repeated` are done once more later.
        """
        if not leases:
            return
        finished = [lease for lease in leases if lease not in repeated]

        async def write(tx: PhotoTransaction) -> None:
            ours = await queue.settled(tx.connection, finished)
            await queue.postpone(tx.connection, repeated, delay_s=self.settings.hub_late_s, reason=MAY_COME_BACK)
            paths = {
                step.media_id: step.path
                for step in stored
                if step.media_id and any(lease.task_id in ours for lease in step.leases)
            }
            existing = await photos.store_done(tx, list(paths))
            # Deleted while it was being stored: its erasure may have come too early.
            orphans = [path for media_id, path in paths.items() if media_id not in existing]
            await tx.enqueue([photos.erase_task(path) for path in orphans])
            await self.count(tx, done=len(ours))
            if has_committed and self._pace.bucket:
                await state.end_commit(tx.connection, self._store.name)

        await self.write(write)
        for lease in leases:
            open_leases.pop(lease.task_id, None)

    async def _fail(self, step: Step, error: Exception, open_leases: Leases) -> None:
        """Try one photo again later: as often as any task, and for ever where the store or a disk is
        at fault, or where a deleted photo's file has to go.
        """
        if step.is_delete:
            log.error("store.erase_failed", path=step.path, reason=batching.reason_of(error))
        else:
            log.error("store.put_failed", media_id=str(step.media_id), reason=batching.reason_of(error))
        attempts = FOR_EVER if step.is_delete or step.is_move or batching.is_stores_fault(error) else None
        for lease in step.leases:
            await self._try_again(lease, error=batching.reason_of(error), attempts=attempts, among=open_leases)

    async def _try_again(self, lease: Lease, *, error: str, attempts: int | None, among: Leases) -> None:
        try:
            await self.fail(lease, error=error, max_attempts=attempts)
        except LeaseLost:
            log.warning("lease.lost", task_id=lease.task_id)
        among.pop(lease.task_id, None)

    async def _give_pause(self, error: Exception) -> None:
        pause_s = round(await self._pace.pause(error), 1)
        if isinstance(error, StorePaused) and error.state == "throttled":
            log.warning("store.throttled", reason=str(error), retry_s=pause_s)
        else:
            log.error("store.unavailable", reason=str(error), retry_s=pause_s)

    async def _has_work(self) -> bool:
        return await queue.count_ready(self.db, lane=self.lane, at_most=1) > 0

    def _most(self) -> int:
        return self._pace.size.files(is_scarce=self._pace.is_scarce)
