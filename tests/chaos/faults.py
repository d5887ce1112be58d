"""Faults, each a function that does it to the stage and, where it lasts, undoes it."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import asyncpg

from tests.chaos.schedule import Step
from tests.chaos.stage import ROLE, Stage

STORM_PAUSE_S = 0.1
_ABSENT = (asyncpg.InternalClientError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


@dataclass
class FaultLog:
    """What was done when, in seconds since the beginning."""

    began_at_s: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Write down what happens now."""
        self.lines.append(f"{time.monotonic() - self.began_at_s:8.3f}  {text}")


async def play(stage: Stage, steps: list[Step], log: FaultLog) -> None:
    """Do what is planned when it is due; faults that last overlap. Then undo everything."""
    try:
        async with asyncio.TaskGroup() as going_on:
            for step in steps:
                await asyncio.sleep(max(0.0, log.began_at_s + step.at_s - time.monotonic()))
                going_on.create_task(_inject(stage, step, log))
    finally:
        stage.resume_all()
        await stage.proxy.mend()


async def _inject(stage: Stage, step: Step, log: FaultLog) -> None:
    # Postgres may be away, and processes gone, before their turn to suffer comes.
    if step.hold_s:
        log.note(f"{step.kind} begins")
    try:
        log.note(f"{step.kind}: {await FAULTS[step.kind](stage, step)}")
    except _ABSENT as error:
        log.note(f"{step.kind}: not done, {type(error).__name__}: {error}")


async def _kill_actor(stage: Stage, step: Step) -> str:
    name, pid = _victim(stage, step)
    os.kill(pid, signal.SIGKILL)
    return f"killed {name} ({pid})"


async def _stop_actor(stage: Stage, step: Step) -> str:
    name, pid = _victim(stage, step)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(step.hold_s)
    with contextlib.suppress(ProcessLookupError):  # by now it may have been found out
        os.kill(pid, signal.SIGCONT)
    return f"stopped {name} ({pid}) for {step.hold_s:g} s"


async def _kill_fork_server(stage: Stage, _step: Step) -> str:
    pid = stage.processes().get("fork server")
    if pid is None:
        raise ProcessLookupError("there is no fork server")
    os.kill(pid, signal.SIGKILL)
    return f"killed {pid}"


async def _storm(stage: Stage, step: Step) -> str:
    """Terminate backends, all or half of them, again and again for a while."""
    share = 1.0 if step.flag else 0.5
    count = 0
    async with _direct(stage) as connection:
        until_s = time.monotonic() + step.hold_s
        while True:
            count += await _terminate(connection, share)
            if time.monotonic() > until_s:
                return f"terminated {count} backends in {step.hold_s:g} s"
            await asyncio.sleep(STORM_PAUSE_S)


async def _restart_fast(stage: Stage, step: Step) -> str:
    await stage.restart_postgres(immediate=False, down_s=step.hold_s)
    return f"down for {step.hold_s:g} s"


async def _restart_immediate(stage: Stage, step: Step) -> str:
    await stage.restart_postgres(immediate=True, down_s=step.hold_s)
    return f"down for {step.hold_s:g} s"


async def _cut(stage: Stage, _step: Step) -> str:
    return f"cut {stage.proxy.cut()} connections"


async def _refuse(stage: Stage, step: Step) -> str:
    stage.proxy.refuse()
    cut = stage.proxy.cut() if step.flag else 0
    await asyncio.sleep(step.hold_s)
    await stage.proxy.start()
    return f"refused connections for {step.hold_s:g} s, cut {cut}"


async def _delay(stage: Stage, step: Step) -> str:
    stage.proxy.delay_s = 0.02 + 0.3 * step.victim
    delayed_s = stage.proxy.delay_s
    await asyncio.sleep(step.hold_s)
    stage.proxy.delay_s = 0.0
    return f"delayed everything by {delayed_s:.2f} s for {step.hold_s:g} s"


async def _freeze(stage: Stage, step: Step) -> str:
    """Stop all traffic; then it goes on, or what was under way is lost."""
    stage.proxy.freeze()
    await asyncio.sleep(step.hold_s)
    cut = stage.proxy.cut() if step.flag else 0
    stage.proxy.thaw()
    return f"froze the traffic for {step.hold_s:g} s, cut {cut}"


async def _strand(stage: Stage, step: Step) -> str:
    count = stage.proxy.strand(server_learns_after_s=step.hold_s)
    return f"left {count} connections half open, on the server for {step.hold_s:g} s"


async def _fill(stage: Stage, step: Step) -> str:
    """Take every connection that the tree's role may have; with `flag` first those that it has."""
    held: list[asyncpg.Connection[asyncpg.Record]] = []
    refusals = 0
    try:
        if step.flag:
            async with _direct(stage) as connection:
                await _terminate(connection, 1.0)
        until_s = time.monotonic() + step.hold_s
        while time.monotonic() < until_s:
            try:
                held.append(await stage.connect(ROLE))
            except asyncpg.TooManyConnectionsError:
                refusals += 1
                await asyncio.sleep(0.02)
    finally:
        for taken in held:
            taken.terminate()
    return f"held {len(held)} connections for {step.hold_s:g} s, was refused {refusals} more"


async def _stop_supervisor(stage: Stage, step: Step) -> str:
    stage.restart_pause_s = step.hold_s
    stage.signal_supervisor(signal.SIGTERM)
    return f"SIGTERM, to start {step.hold_s:g} s after its end"


async def _kill_supervisor(stage: Stage, step: Step) -> str:
    stage.restart_pause_s = step.hold_s
    stage.signal_supervisor(signal.SIGKILL)
    return f"SIGKILL, to start {step.hold_s:g} s later"


FAULTS: dict[str, Callable[[Stage, Step], Awaitable[str]]] = {
    "kill_actor": _kill_actor,
    "stop_actor": _stop_actor,
    "kill_fork_server": _kill_fork_server,
    "storm": _storm,
    "restart_fast": _restart_fast,
    "restart_immediate": _restart_immediate,
    "cut": _cut,
    "refuse": _refuse,
    "delay": _delay,
    "freeze": _freeze,
    "strand": _strand,
    "fill": _fill,
    "stop_supervisor": _stop_supervisor,
    "kill_supervisor": _kill_supervisor,
}


def _victim(stage: Stage, step: Step) -> tuple[str, int]:
    """Choose among the actors that there are. Raises ProcessLookupError where there is none."""
    actors = sorted((name, pid) for name, pid in stage.processes().items() if name != "fork server")
    if not actors:
        raise ProcessLookupError("there are no actors")
    return actors[int(step.victim * len(actors))]


@contextlib.asynccontextmanager
async def _direct(stage: Stage) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await stage.connect()
    try:
        yield connection
    finally:
        connection.terminate()


async def _terminate(connection: "asyncpg.Connection[asyncpg.Record]", share: float) -> int:
    return int(
        await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1 AND random() < $2",
            ROLE,
            share,
        )
    )
