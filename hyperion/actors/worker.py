"""The worker: claims one photo at a time, reads it, has it looked at, writes down what was found."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog
from PIL import Image

from hyperion import logs, queue
from hyperion.actors.claiming import FOR_EVER, ClaimingActor
from hyperion.actors.memory import MemoryLimit, give_memory_back, keep_memory
from hyperion.actors.photo_file import PhotoFile
from hyperion.actors.specs import TITANS, Life
from hyperion.errors import (
    LeaseLost,
    PhotoGone,
    PhotoTooSlow,
    PhotoUnusable,
    StatusConflict,
    StoreUnavailable,
)
from hyperion.media import exif, findings, image, photos
from hyperion.media.address import Gazetteer
from hyperion.media.detector import Finding
from hyperion.media.detector.choice import make_detector
from hyperion.media.exif import Facts
from hyperion.media.photos import Photo
from hyperion.media.status import Status
from hyperion.media.store import make_store
from hyperion.media.transaction import ANALYSE_LANE, PhotoTransaction
from hyperion.queue import Lease
from hyperion.settings import Settings

log = logs.get_logger()

T = TypeVar("T")

EXIT_STUCK = 6
EYES_NICE = 10  # of that thread alone: what is in a transaction lets others wait, and must not wait for decoders
NO_MEMORY = "The photo takes more memory than there is for it."
PREPARE_AFTER_S = 1.0
PREPARE_APART_S = 0.2
TIDY_AFTER_S = 2.0


class Extract(NamedTuple):
    """What the first look at a photo gives."""

    facts: Facts
    address: str | None
    picture: Image.Image
    thumbnail: bytes


class Worker(ClaimingActor):
    """A Titan of the fleet. Works on one task at a time, with the photo's bytes in a thread of its own.

    Those bytes are not to be trusted: what they take is limited, in time and in memory. A decoder
    that hangs cannot be stopped, so its process ends, and a new one begins.
    """

    lane = ANALYSE_LANE

    def __init__(self, life: Life, settings: Settings) -> None:
        super().__init__(life, settings)
        self.pollers = settings.workers
        self.place = TITANS.index(life.spec.name) if life.spec.name in TITANS else 0
        self._store = make_store(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="eyes", initializer=os.nice, initargs=(EYES_NICE,))
        self._detector = make_detector(settings, self._thread)
        self._gazetteer = Gazetteer(settings.var_dir)
        self._memory = MemoryLimit()
        self._photo_file = PhotoFile(settings.var_dir / "spool", life.label, self._store)

    async def work(self) -> None:
        """Claim and handle tasks until drained or cancelled."""
        self.mark_ready()
        keep_memory()
        self._memory.set(beyond_rest_bytes=self.settings.decode_memory_bytes)
        # Ten models at once would keep the rest of the tree from starting.
        asyncio.get_running_loop().call_later(PREPARE_AFTER_S + self.place * PREPARE_APART_S, self._detector.prepare)
        while leases := await self._next_lease():
            [lease] = leases
            item = None if lease.item is None else str(lease.item)
            with structlog.contextvars.bound_contextvars(task_id=lease.task_id, media_id=item):
                await self._handle(lease)

    async def _next_lease(self) -> list[Lease]:
        """Wait for a task; when none comes for a while give memory back."""
        tidying = asyncio.get_running_loop().call_later(TIDY_AFTER_S, give_memory_back)
        try:
            return await self.next_leases(1)
        finally:
            tidying.cancel()

    async def _handle(self, lease: Lease) -> None:
        """Work on one task; whatever happens, its lease is settled, handed back or lost."""
        log.info("task.started", kind=lease.kind, attempt=lease.attempt)
        started_s = time.monotonic()
        try:
            try:
                async with asyncio.timeout(self.settings.task_timeout_s):
                    await (self._analyse(lease) if lease.kind == "analyse" else self._simulate(lease))
            except LeaseLost:
                raise
            except Exception as error:  # noqa: BLE001  (where a task ends)
                await self._settle_failure(lease, error)
            else:
                log.info("task.finished", took_s=round(time.monotonic() - started_s, 3))
        except LeaseLost:
            log.warning("lease.lost")
        except asyncio.CancelledError:
            await self.hand_back([lease])
            raise
        finally:
            self.forget([lease])
            self.show_task(None)

    async def _settle_failure(self, lease: Lease, error: Exception) -> None:
        """End a task that raised: without a result, with another attempt, or with a reason for FAILED."""
        reason = f"{type(error).__name__}: {error}"
        match error:
            case PhotoGone() | StatusConflict():
                await self._drop(lease, reason=str(error))
            case PhotoTooSlow():
                with suppress(LeaseLost):  # or its commit was made twice; the thread is stuck all the same
                    await self.fail(lease, error=str(error), max_attempts=self.settings.max_crashes)
                self._end_stuck()
            case PhotoUnusable():
                await self._refuse(lease, reason=error.detail)
            case MemoryError():
                log.error("worker.out_of_memory", attempt=lease.attempt)
                try:
                    await self.fail(lease, error=NO_MEMORY, max_attempts=self.settings.max_crashes)
                finally:
                    self.stop()  # it would fail at every photo that it can get; its next life has all its memory
            case StoreUnavailable():  # its pause must not cost the photo its attempts
                log.warning("task.postponed", reason=str(error))
                await self.fail(lease, error=reason, max_attempts=FOR_EVER)
            case TimeoutError():
                await self.fail(lease, error=f"took longer than {self.settings.task_timeout_s:g} s")
            case _:
                log.error("task.failed", attempt=lease.attempt, exc_info=error)
                await self.fail(lease, error=reason)

    async def _analyse(self, lease: Lease) -> None:
        photo = await self._begin(lease)
        async with self._photo_file.of(photo, self._copy_blob) as path:
            extract = await self._extract(path, photo)
            await self._keep_facts(lease, photo, extract)
            self.show_task(lease.task_id, Status.PROCESSING, 0.0)
            finding = await self._in_time(
                self._detector.detect(
                    path,
                    picture=extract.picture,
                    on_progress=lambda share: self.show_task(lease.task_id, Status.PROCESSING, share),
                )
            )
        await self._keep_finding(lease, photo, finding)

    async def _begin(self, lease: Lease) -> Photo:
        assert lease.item is not None
        media_id = lease.item
        found: list[Photo] = []

        async def write(tx: PhotoTransaction) -> None:
            await queue.hold(tx.connection, lease)
            found[:] = [await photos.advance(tx, media_id, Status.EXTRACTING, worker=self.life.label)]

        await self.write(write)
        self.show_task(lease.task_id, Status.EXTRACTING)
        return found[0]

    async def _extract(self, path: Path, photo: Photo) -> Extract:
        """Read what the file says of itself, and decode it once for all that look at it."""

        def extract() -> Extract:
            facts = exif.read(path)
            try:
                picture = image.picture(path)
            except PhotoUnusable as fault:
                if not self._memory.has_room_for(photo.pixels):  # most decoders call that damage
                    raise MemoryError from fault
                raise
            return Extract(facts, self._gazetteer.address(facts.lat, facts.lng), picture, image.thumbnail(picture))

        working = asyncio.get_running_loop().run_in_executor(self._thread, extract)
        if self.settings.detector == "simulated":
            await asyncio.sleep(self.settings.extraction_s)
        return await self._in_time(working)

    async def _in_time(self, work: Awaitable[T]) -> T:
        """Await work on a photo's bytes. Raises PhotoTooSlow when it takes too long; then it goes on."""
        try:
            async with asyncio.timeout(self.settings.decode_timeout_s) as limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise PhotoTooSlow(self.settings.decode_timeout_s) from None
            raise

    def _end_stuck(self) -> None:
        """End this process although one of its threads never will. Its task is settled."""
        log.error("decoder.stuck", limit_s=self.settings.decode_timeout_s)
        sys.stdout.flush()
        os._exit(EXIT_STUCK)

    async def _copy_blob(self, photo: Photo, target: Path) -> bool:
        return await self.patiently(lambda: photos.copy_blob(self.db, photo.id, target))

    async def _keep_facts(self, lease: Lease, photo: Photo, extract: Extract) -> None:
        async def write(tx: PhotoTransaction) -> None:
            await queue.hold(tx.connection, lease)
            await findings.keep_facts(
                tx,
                photo.id,
                extract.facts,
                address=extract.address,
                thumbnail=extract.thumbnail,
                worker=self.life.label,
            )

        await self.write(write)

    async def _keep_finding(self, lease: Lease, photo: Photo, finding: Finding) -> None:
        async def write(tx: PhotoTransaction) -> None:
            await queue.finish(tx.connection, [lease])
            await photos.drop_blob(tx, photo.id)
            await self.count(tx, done=1)
            # From here on the user's other photos wait for the commit.
            await findings.keep_finding(tx, photo.id, finding, worker=self.life.label)

        await self.write(write)

    async def _simulate(self, lease: Lease) -> None:
        """Go through the motions of a task without a photo."""
        self.show_task(lease.task_id, Status.EXTRACTING)
        await asyncio.sleep(self.settings.extraction_s)
        self.show_task(lease.task_id, Status.PROCESSING)
        await asyncio.sleep(self.settings.processing_s)

        async def write(tx: PhotoTransaction) -> None:
            await queue.finish(tx.connection, [lease])
            await self.count(tx, done=1)

        await self.write(write)

    async def _drop(self, lease: Lease, *, reason: str) -> None:
        """Finish a task whose photo is gone or needs no work any more."""

        async def write(tx: PhotoTransaction) -> None:
            await queue.finish(tx.connection, [lease])

        await self.write(write)
        log.info("task.dropped", reason=reason)

    async def _refuse(self, lease: Lease, *, reason: str) -> None:
        """Finish a task whose photo cannot be read, however often it were tried."""

        async def write(tx: PhotoTransaction) -> None:
            await queue.finish(tx.connection, [lease])
            if lease.item:
                await photos.give_up(tx, [lease.item], reason=reason)
                await photos.drop_blob(tx, lease.item)
            await self.count(tx, failed=1)

        await self.write(write)
        log.warning("photo.refused", reason=reason)
