"""The supervisor: starts the tree tier by tier, restarts what dies, stops it in reverse."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable

from hyperion import logs
from hyperion.actors import fork_server
from hyperion.actors.actor import EXIT_ASKED, EXIT_DRAINED, EXIT_LIFE_OVER
from hyperion.actors.child import Child, Nursery, exit_text
from hyperion.actors.node import OBSERVE_S, Node, Sighting
from hyperion.actors.restart import HEALTHY_LIFE_S, RestartPolicy, is_silent
from hyperion.actors.specs import ActorSpec, plan
from hyperion.actors.stop import Stop
from hyperion.db import Database
from hyperion.db.backoff import Backoff
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.errors import DatabaseUnavailable
from hyperion.queue import Wakeup
from hyperion.settings import Settings

log = logs.get_logger()

OBSERVE_STARTING_S = 0.01
ABORT_TO_KILL_S = 2.0
START_SILENCE_S = 30.0
BURY_RETRY_S = 0.25
RESEND_S = 0.25
SETTLE_S = 2.0
LEAST_SETTLE_S = 0.5


class Supervisor:
    """One-for-one supervision of this node's actors, and of the embedded Postgres if there is one."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        stop: Stop,
        *,
        postgres: EmbeddedPostgres | None = None,
    ) -> None:
        self._settings = settings
        self._postgres = postgres
        self._stop = stop
        self._wakeup = Wakeup(db)
        self._node = Node(settings, db, self._wakeup)
        self._nursery = Nursery()
        self._tiers = plan(settings)
        self._were_ready = {spec.name: asyncio.Event() for tier in self._tiers for spec in tier}
        self._children: dict[str, Child] = {}
        self._parked: dict[str, asyncio.Event] = {}  # who has no process, and the wish for one
        self._dying: set[str] = set()  # those of them who died too often
        self._state = "starting"
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._ringing: list[asyncio.Task[None]] = []
        self._burials: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run the tree until told to stop; return the exit code.

        Raises NodeTaken, DatabaseUnavailable when it does not even begin, and whatever a part of
        the supervisor itself fails of: a supervisor that sees half of what happens must not go on.
        """
        await self._stop.until_answered(self._node.join, budget_s=self._settings.start_budget_s)
        if self._stop.asked.is_set():
            return 0
        self._ringing = [asyncio.create_task(self._wakeup.run())]
        self._watchers = [
            asyncio.create_task(self._node.keep_name()),
            asyncio.create_task(self._observe_forever()),
        ]
        try:
            await self._watched(self._start())
            await self._watched(self._stop.asked.wait())
            return await self._terminate()
        finally:
            await self._abolish()

    async def _watched(self, work: Awaitable[object]) -> None:
        """Await `work`, and fail at once if a part of the supervisor does meanwhile."""
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                parts = self._parts()
                for part in parts:
                    if part.done():
                        part.result()
                waiting = {working, *(part for part in parts if not part.done())}
                await asyncio.wait(waiting, timeout=OBSERVE_S, return_when=asyncio.FIRST_COMPLETED)
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def _parts(self) -> list[asyncio.Task[None]]:
        return [*self._ringing, *self._watchers, *self._keepers.values(), *self._burials]

    async def _start(self) -> None:
        """Start each tier when the one before is ready, unless a stop comes first."""
        began_s = time.monotonic()
        for tier in self._tiers:
            for spec in tier:
                self._keepers[spec.name] = asyncio.create_task(self._keep(spec), name=spec.name)
            await self._stop.unless(asyncio.gather(*(self._were_ready[spec.name].wait() for spec in tier)))
            if self._stop.asked.is_set():
                return
        self._state = "running"
        log.info(
            "node.started",
            took_s=round(time.monotonic() - began_s, 3),
            actors=len(self._children),
            url=f"http://localhost:{self._settings.port}" if "web" in self._settings.actors else None,
        )

    async def _keep(self, spec: ActorSpec) -> None:
        """Keep one actor running: start it, wait for its death, decide, start it again."""
        policy = RestartPolicy(park_s=self._settings.park_s)
        restarts = 0
        while not self._stop.asked.is_set():
            life_s, code = await self._live_once(spec, restarts)
            if self._stop.asked.is_set():
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
                    self._dying.add(spec.name)
                    await self._park(spec, verdict.delay_s)
                    self._dying.discard(spec.name)
                else:
                    await self._stop.wait(verdict.delay_s)

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
        if code not in (EXIT_ASKED, EXIT_DRAINED):
            log.warning(
                "actor.died", child=life.label, pid=child.pid, exit=exit_text(code), life_s=round(child.life_s, 2)
            )
        burial = asyncio.create_task(self._bury(child, code))
        self._burials.add(burial)
        burial.add_done_callback(self._buried)
        return child.life_s, code

    def _buried(self, burial: asyncio.Task[None]) -> None:
        if not burial.cancelled() and burial.exception() is None:
            self._burials.discard(burial)

    async def _bury(self, child: Child, code: int) -> None:
        is_crash = code not in (EXIT_ASKED, EXIT_DRAINED)
        backoff = Backoff(first_s=BURY_RETRY_S, last_s=2)
        while True:
            try:
                return await self._node.bury(child.life, is_crash=is_crash, is_drained=code == EXIT_DRAINED)
            except DatabaseUnavailable:
                await asyncio.sleep(backoff.next_s())

    async def _park(self, spec: ActorSpec, wait_s: float | None) -> None:
        """Leave an actor down for `wait_s` (None: for good), or until an operator restarts it."""
        asked = self._parked[spec.name] = asyncio.Event()
        waits = [asyncio.ensure_future(asked.wait()), asyncio.ensure_future(self._stop.asked.wait())]
        await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        del self._parked[spec.name]

    async def _observe_forever(self) -> None:
        """Read all heartbeats in one query, every OBSERVE_S seconds, faster while somebody starts."""
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
        if self._stop.asked.is_set():
            return "stopping"
        if self._state == "running" and (self._dying or self._somebody_is_frail()):
            return "degraded"
        return self._state

    def _somebody_is_frail(self) -> bool:
        """Tell whether an actor that was restarted many times has yet to prove that it is well."""
        return any(c.life.restarts >= 5 and c.life_s < HEALTHY_LIFE_S for c in self._children.values())

    def _look_at(self, child: Child, seen: Sighting | None) -> None:
        registered = seen is not None and seen.boot == child.life.boot
        if registered and seen and seen.state == "ready":
            child.is_ready.set()
            self._were_ready[child.life.spec.name].set()
        silent_s = seen.silent_s if registered and seen else child.life_s
        limit_s = self._settings.silence_s if registered else START_SILENCE_S
        hung = is_silent(silent_s=silent_s, answering_s=self._node.answering_s, limit_s=limit_s)
        if hung and child.is_alive and not child.is_doomed and not self._stop.asked.is_set():
            child.is_doomed = True
            log.error("actor.hung", child=child.life.label, pid=child.pid, silent_s=round(silent_s, 1))
            child.signal(signal.SIGABRT)  # faulthandler prints the stacks
            loop = asyncio.get_running_loop()
            loop.call_later(ABORT_TO_KILL_S, child.signal, signal.SIGKILL)
            loop.call_later(2 * ABORT_TO_KILL_S, self._doubt_fork_server, child)

    def _doubt_fork_server(self, child: Child) -> None:
        """Kill the fork server where it does not even tell of a death: all its children start anew."""
        if child.is_alive:
            log.error("fork_server.hung")
            fork_server.kill()

    async def _read_mail_of_the_parked(self) -> None:
        if not self._parked:
            return
        names = {self._children[name].life.label: name for name in self._parked if name in self._children}
        messages = await self._node.restarts_asked_for(list(names))
        for _, label in messages:
            if parked := self._parked.get(names[label]):
                parked.set()
        if messages:
            await self._node.obeyed([message_id for message_id, _ in messages])

    async def _terminate(self) -> int:
        """Stop tier by tier in reverse, in parallel within a tier; kill what outlives the grace."""
        began_s = time.monotonic()
        ends_s = began_s + self._settings.grace_s
        self._state = "stopping"
        log.info("node.stopping", grace_s=self._settings.grace_s)
        for tier in reversed(self._tiers):
            await self._stop_tier(tier, limit_s=0.6 * (ends_s - time.monotonic()))
        await self._settle_burials(limit_s=min(SETTLE_S, max(LEAST_SETTLE_S, ends_s - time.monotonic())))
        log.info("node.stopped", took_s=round(time.monotonic() - began_s, 3), forced=self._stop.forced.is_set())
        return 128 + signal.SIGTERM if self._stop.forced.is_set() else 0

    async def _stop_tier(self, tier: list[ActorSpec], *, limit_s: float) -> None:
        pending = {self._keepers[spec.name] for spec in tier if spec.name in self._keepers}
        deadline_s = time.monotonic() + limit_s
        while pending and not self._stop.forced.is_set() and time.monotonic() < deadline_s:
            for child in self._alive(tier):
                child.signal(signal.SIGTERM)  # again, for one that was too young to hear the first
            _, pending = await asyncio.wait(pending, timeout=RESEND_S)
        for child in self._alive(tier):
            log.warning("actor.killed", child=child.life.label)
        killing_since_s = time.monotonic()
        while pending:
            for child in self._alive(tier):  # and whoever is born only now
                child.signal(signal.SIGKILL)
            _, pending = await asyncio.wait(pending, timeout=RESEND_S)
            if pending and time.monotonic() - killing_since_s > ABORT_TO_KILL_S:
                fork_server.kill()

    def _alive(self, tier: list[ActorSpec]) -> list[Child]:
        children = [self._children[spec.name] for spec in tier if spec.name in self._children]
        return [child for child in children if child.is_alive]

    async def _settle_burials(self, *, limit_s: float) -> None:
        """Free what killed children held and leave, if the database is there to be told."""
        for watcher in self._watchers:
            watcher.cancel()
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*self._burials)
                await self._wakeup.flush(timeout_s=1)
                await self._node.leave()
        except (TimeoutError, DatabaseUnavailable) as error:
            log.warning("node.left_silently", reason=str(error) or "the database did not answer in time")

    async def _abolish(self) -> None:
        """Leave no process and no task behind, however it came to this."""
        for child in self._children.values():
            child.signal(signal.SIGKILL)
        tasks = self._parts()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._nursery.close()
