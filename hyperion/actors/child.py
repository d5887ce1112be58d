"""One process of the tree, seen from the supervisor: start it, signal it, learn of its death."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess

from hyperion import logs
from hyperion.actors import fork_server
from hyperion.actors.launch import run_actor
from hyperion.actors.specs import Life
from hyperion.settings import Settings

log = logs.get_logger()

START_LIMIT_S = 20.0


class Child:
    """A living or dead process and the life it was started for."""

    def __init__(self, life: Life, process: ForkServerProcess) -> None:
        self.life = life
        self.started_at_s = time.monotonic()
        self.is_ready = asyncio.Event()
        self.is_doomed = False
        self._process = process
        self._dead = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._died)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether its death has not been seen yet."""
        return not self._dead.is_set()

    async def wait(self) -> int:
        """Wait for its death; return the exit code, or the negative number of the signal.

        255 stands for a process whose fork server died with it.
        """
        await self._dead.wait()
        code = self._process.exitcode
        return 255 if code is None else code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is alive."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def life_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started_at_s

    def _died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join(1)  # reads the exit code that made the sentinel readable
        self._dead.set()


class Nursery:
    """Starts children through the standard library's fork server, whose modules are preloaded.

    A fork server that died is started again by the next child; one that hangs is killed.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        fork_server.launch()
        # One at a time, off the loop: the fork server answers in milliseconds or not at all.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nursery")

    async def start(self, life: Life, settings: Settings) -> Child:
        """Fork a child. Raises OSError or EOFError where the fork server fails."""
        process = self._context.Process(target=run_actor, args=(life, settings), name=life.label, daemon=True)
        starting = asyncio.get_running_loop().run_in_executor(self._thread, process.start)
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await asyncio.shield(starting)
        except (TimeoutError, FileNotFoundError, ConnectionRefusedError) as error:
            # Hung, or its socket was swept away: nobody will ever reach it again.
            log.error("fork_server.unreachable", reason=f"{type(error).__name__}: {error}")
            fork_server.kill()
            raise OSError("the fork server does not answer") from error
        return Child(life, process)

    def close(self) -> None:
        """Kill the fork server and start nobody any more; all children must be dead."""
        fork_server.kill()
        self._thread.shutdown(wait=False, cancel_futures=True)


def exit_text(code: int) -> str:
    """Return an exit code as people read it: a number, or the name of the signal."""
    if code >= 0:
        return str(code)
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
