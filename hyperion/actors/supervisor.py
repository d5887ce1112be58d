"""The supervisor: starts the tree tier by tier, restarts what dies, stops it in reverse."""

import asyncio
import random
import signal
import time
from typing import Any

from hyperion import logs
from hyperion.actors.actor import EXIT_ASKED, EXIT_DRAINED, EXIT_LIFE_OVER
from hyperion.actors.child import Child, Nursery
from hyperion.actors.node import Node, Sighting
from hyperion.actors.orphans import OrphanReaper
from hyperion.actors.restart import HEALTHY_LIFE_S, RestartPolicy, is_silent
from hyperion.actors.specs import ActorSpec, plan
from hyperion.db import Database
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.errors import DatabaseUnavailable
from hyperion.queue import Wakeup
from hyperion.settings import Settings

log = logs.get_logger()

OBSERVE_S = 1.0
OBSERVE_STARTING_S = 0.02
ABORT_TO_KILL_S = 2.0
START_SILENCE_S = 30.0
BURY_RETRY_S = 0.25
RESEND_S = 0.25


class Supervisor:
    """One-for-one supervision of this node's actors, and of the embedded Postgres if there is one."""

    def __init__(
        self, settings: Settings, db: Database, wakeup: Wakeup, *, postgres: EmbeddedPostgres | None = None
    ) -> None:
        self._settings = settings
        self._postgres = postgres
        self._node = Node(settings, db, wakeup)
        self._nursery = Nursery()
        self._orphans = OrphanReaper(lambda: {self._nursery.fork_server_pid, postgres.pid if postgres else None})
        self._tiers = plan(settings)
        self._children: dict[str, Child] = {}
        self._parked: dict[str, asyncio.Event] = {}
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._state = "starting"
        self._burials: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run the tree until told to stop; return the exit code. Raises NodeTaken."""
        self._watch_signals()
        await self._node.join()
        name_keeper = asyncio.create_task(self._node.keep_name())
        observer = asyncio.create_task(self._observe_forever())
        keepers: dict[str, asyncio.Task[None]] = {}
        try:
            await self._start(keepers, observer)
            await self._stopping.wait()
            return await self._terminate(keepers)
        finally:
            self._kill_all()
            for task in (name_keeper, observer, *keepers.values()):
                task.cancel()
            await asyncio.gather(name_keeper, observer, *keepers.values(), return_exceptions=True)
            self._nursery.close()

    def stop(self) -> None:
        """Stop the tree within the grace period; called again, at once."""
        if self._stopping.is_set():
            self._forced.set()
        self._stopping.set()

    async def _start(self, keepers: dict[str, asyncio.Task[None]], observer: asyncio.Task[None]) -> None:
        """Start each tier when the one before is ready, unless a stop comes first."""
        began_s = time.monotonic()
        for tier in self._tiers:
            for spec in tier:
                keepers[spec.name] = asyncio.create_task(self._keep(spec), name=spec.name)
            everyone: asyncio.Future[Any] = asyncio.gather(*(self._first_ready(spec) for spec in tier))
            stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait({everyone, stopping, observer}, return_when=asyncio.FIRST_COMPLETED)
            for task in (everyone, stopping):
                task.cancel()
            await asyncio.gather(everyone, stopping, return_exceptions=True)
            if observer.done():
                observer.result()
            if self._stopping.is_set():
                return
        self._state = "running"
        log.info(
            "node.started",
            took_s=round(time.monotonic() - began_s, 3),
            actors=len(self._children),
            url=f"http://localhost:{self._settings.port}" if "web" in self._settings.actors else None,
        )

    async def _first_ready(self, spec: ActorSpec) -> None:
        while spec.name not in self._children or not self._children[spec.name].is_ready.is_set():
            await asyncio.sleep(OBSERVE_STARTING_S)

    async def _keep(self, spec: ActorSpec) -> None:
        """Keep one actor running: start it, wait for its death, decide, start it again."""
        policy = RestartPolicy(park_s=self._settings.park_s)
        restarts = 0
        while not self._stopping.is_set():
            life_s, code = await self._live_once(spec, restarts)
            if self._stopping.is_set():
                return
            restarts += 1
            if code == EXIT_DRAINED:
                await self._park(spec, None)
            elif code != EXIT_ASKED:
                verdict = policy.after_death(
                    life_s=life_s,
                    now_s=time.monotonic(),
                    counts=not self._node.is_away and code != EXIT_LIFE_OVER,
                    chance=random.random(),  # noqa: S311  (jitter)
                )
                if verdict.is_parked:
                    log.error("actor.parked", child=self._node.label_of(spec), retry_s=verdict.delay_s)
                    await self._park(spec, verdict.delay_s)
                else:
                    await self._pause(verdict.delay_s)

    async def _live_once(self, spec: ActorSpec, restarts: int) -> tuple[float, int]:
        """Run one life of an actor; return how long it lived and its exit code."""
        life = self._node.new_life(spec, restarts=restarts)
        try:
            child = await self._nursery.start(life, self._settings)
        except (OSError, EOFError) as error:
            log.error("actor.start_failed", child=life.label, reason=f"{type(error).__name__}: {error}")
            return 0.0, 1
        self._children[spec.name] = child
        code = await child.wait()
        if code != EXIT_ASKED or not self._stopping.is_set():
            log.warning(
                "actor.died", child=life.label, pid=child.pid, exit=_exit_text(code), life_s=round(child.life_s, 2)
            )
        burial = asyncio.create_task(self._bury(child))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        return child.life_s, code

    async def _bury(self, child: Child) -> None:
        while True:
            try:
                return await self._node.bury(child.life)
            except DatabaseUnavailable:
                await asyncio.sleep(BURY_RETRY_S)

    async def _park(self, spec: ActorSpec, wait_s: float | None) -> None:
        """Leave an actor down for `wait_s` (None: for good), or until an operator restarts it."""
        asked = self._parked[spec.name] = asyncio.Event()
        waits = [asyncio.ensure_future(asked.wait()), asyncio.ensure_future(self._stopping.wait())]
        await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        del self._parked[spec.name]

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _observe_forever(self) -> None:
        """Read all heartbeats in one query, about once a second, faster while somebody starts."""
        while True:
            if self._postgres:
                self._postgres.ensure_running()
            try:
                sightings = await self._node.observe(self._shown_state())
                for child in list(self._children.values()):
                    self._look_at(child, sightings.get(child.life.spec.name))
                await self._read_mail_of_the_parked()
            except DatabaseUnavailable:
                await asyncio.sleep(BURY_RETRY_S)
            starting = any(child.is_alive and not child.is_ready.is_set() for child in self._children.values())
            await asyncio.sleep(OBSERVE_STARTING_S if starting or self._state == "starting" else OBSERVE_S)

    def _shown_state(self) -> str:
        if self._stopping.is_set():
            return "stopping"
        if self._state == "running" and (self._parked or self._somebody_is_frail()):
            return "degraded"
        return self._state

    def _somebody_is_frail(self) -> bool:
        """Tell whether an actor that was restarted many times has yet to prove that it is well."""
        return any(c.life.restarts >= 5 and c.life_s < HEALTHY_LIFE_S for c in self._children.values())

    def _look_at(self, child: Child, seen: Sighting | None) -> None:
        registered = seen is not None and seen.boot == child.life.boot
        if registered and seen and seen.state == "ready":
            child.is_ready.set()
        silent_s = seen.silent_s if registered and seen else child.life_s
        limit_s = self._settings.silence_s if registered else START_SILENCE_S
        hung = is_silent(silent_s=silent_s, answering_s=self._node.answering_s, limit_s=limit_s)
        if hung and child.is_alive and not child.is_doomed and not self._stopping.is_set():
            child.is_doomed = True
            log.error("actor.hung", child=child.life.label, pid=child.pid, silent_s=round(silent_s, 1))
            child.signal(signal.SIGABRT)  # faulthandler prints the stacks
            asyncio.get_running_loop().call_later(ABORT_TO_KILL_S, child.signal, signal.SIGKILL)

    async def _read_mail_of_the_parked(self) -> None:
        if not self._parked:
            return
        labels = {self._node.label_of(ActorSpec(name, "")): name for name in self._parked}
        for recipient in await self._node.asked_to_restart(list(labels)):
            if parked := self._parked.get(labels[recipient]):
                parked.set()

    async def _terminate(self, keepers: dict[str, asyncio.Task[None]]) -> int:
        """Stop tier by tier in reverse, in parallel within a tier; kill what outlives the grace."""
        began_s = time.monotonic()
        self._state = "stopping"
        log.info("node.stopping", grace_s=self._settings.grace_s)
        for tier in reversed(self._tiers):
            left_s = began_s + self._settings.grace_s - time.monotonic()
            await self._stop_tier([keepers[s.name] for s in tier if s.name in keepers], tier, limit_s=0.6 * left_s)
        await self._settle_burials()
        log.info("node.stopped", took_s=round(time.monotonic() - began_s, 3), forced=self._forced.is_set())
        return 128 + signal.SIGTERM if self._forced.is_set() else 0

    async def _stop_tier(self, keepers: list[asyncio.Task[None]], tier: list[ActorSpec], *, limit_s: float) -> None:
        deadline_s = time.monotonic() + limit_s
        while not all(keeper.done() for keeper in keepers) and time.monotonic() < deadline_s:
            if self._forced.is_set():
                break
            for child in self._of(tier):
                child.signal(signal.SIGTERM)  # again, for one that was too young to hear the first
            await asyncio.wait(keepers, timeout=RESEND_S)
        for child in self._of(tier):
            if child.is_alive:
                log.warning("actor.killed", child=child.life.label)
                child.signal(signal.SIGKILL)
        if keepers:
            await asyncio.wait(keepers)

    def _of(self, tier: list[ActorSpec]) -> list[Child]:
        return [self._children[spec.name] for spec in tier if spec.name in self._children]

    async def _settle_burials(self) -> None:
        """Free what killed children held and leave, if the database is there to be told."""
        try:
            async with asyncio.timeout(2):
                await asyncio.gather(*self._burials)
                await self._node.leave()
        except (TimeoutError, DatabaseUnavailable) as error:
            log.warning("node.left_silently", reason=str(error))
            for burial in list(self._burials):
                burial.cancel()

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.signal(signal.SIGKILL)

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGQUIT, self._stop_now)
        self._orphans.watch(loop)

    def _stop_now(self) -> None:
        self._forced.set()
        self._stopping.set()


def _exit_text(code: int) -> str:
    if code >= 0:
        return str(code)
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
