"""A whole tree under test: real processes, real signals, a user who speaks HTTP."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.photos import make_photo
from tests.places import lend_gazetteer
from tests.until import until

ROOT = Path(__file__).parents[2]
WORKERS = {"Helios", "Eos", "Aethon", "Crius", "Iapetus", "Perses", "Phlegon", "Phoebe", "Theia", "Cronus"}
QUICK = {
    "HYPERION_DETECTOR": "simulated",
    "HYPERION_SIMULATED_EXTRACTION_S": "0.2",
    "HYPERION_SIMULATED_PROCESSING_S": "0.3",
    "HYPERION_HOST": "127.0.0.1",
    "HYPERION_WORKERS": "4",
}


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Tree:
    """One supervisor and its actors, started like a person would; every log line is kept."""

    def __init__(self, database_url: str, folder: Path, *, dev: bool = False, **settings: str) -> None:
        self._options = ["--dev"] if dev else []
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.lines: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self.folder = folder
        own = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("HYPERION_", "HF_")) and k not in ("PORT", "DATABASE_URL")
        }
        self.environ = (
            own
            | QUICK
            | {
                "DATABASE_URL": database_url,
                "SECRET_KEY": "k" * 40,
                "HYPERION_PORT": str(self.port),
                "HYPERION_VAR": str(folder),
                "HYPERION_NODE": "here",
            }
            | settings
        )
        if not dev:  # where a tree has to make everything itself
            lend_gazetteer(folder)
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process
        return self._process.pid

    def launch(self) -> None:
        """Start the supervisor and return at once."""
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "supervisor.py"), *self._options],
            env=self.environ,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, keep), daemon=True)
            for stream, keep in ((self._process.stdout, self._keep_line), (self._process.stderr, self.noise.append))
        ]
        for reader in self._readers:
            reader.start()

    async def start(self) -> "Tree":
        """Start the supervisor and wait until every actor is ready."""
        began = len(self.lines)
        self.launch()
        await until(lambda: self.has_ended or self.events("node.started", since=began), within_s=60)
        assert not self.has_ended, (self.lines, self.noise)
        return self

    @property
    def has_ended(self) -> bool:
        """Whether the supervisor is dead."""
        return self._process is None or self._process.poll() is not None

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to the supervisor, or to `pid`."""
        os.kill(pid or self.pid, number)

    async def exit_code(self, *, within_s: float = 20) -> int:
        """Wait for the supervisor's end."""
        assert self._process
        process = self._process
        await until(lambda: process.poll() is not None, within_s=within_s)
        return process.returncode

    async def stop(self) -> int:
        """Stop with SIGTERM and return the exit code."""
        self.signal(signal.SIGTERM)
        return await self.exit_code()

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        survivors = self.processes() if not self.has_ended else {}
        if self._process and not self.has_ended:
            self._process.kill()
            self._process.wait()
        for pid in survivors.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for reader in self._readers:
            reader.join(5)

    def processes(self) -> dict[str, int]:
        """Map what processes of the tree call themselves (`worker Helios`) to their ids."""
        found = {}
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline()).strip()
                if command.startswith("hyperion: ") and process.status() != psutil.STATUS_ZOMBIE:
                    found[command.removeprefix("hyperion: ")] = process.pid
        return found

    def events(self, name: str, *, since: int = 0, **values: Any) -> list[dict[str, Any]]:
        """List log lines of one event, with these values."""
        return [
            line
            for line in self.lines[since:]
            if line["event"] == name and all(line.get(key) == value for key, value in values.items())
        ]

    def _read(self, stream: Any, keep: Any) -> None:
        with stream:
            for line in stream:
                keep(line.rstrip("\n"))

    def _keep_line(self, line: str) -> None:
        try:
            self.lines.append(json.loads(line))
        except ValueError:
            self.lines.append({"event": "NOT JSON", "line": line})


def is_dead(process: psutil.Process) -> bool:
    """Tell whether a process has ended, be it reaped by whoever inherited it or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def new_account() -> dict[str, str]:
    """Return an email that nobody has, and a password."""
    return {"email": f"{secrets.token_hex(6)}@example.org", "password": "a long password"}


class User:
    """Somebody with a browser: signs up (without an `account`) and in, uploads, watches."""

    def __init__(self, base: str, account: dict[str, str] | None = None) -> None:
        self.base = base
        self._account = account
        self.headers: dict[str, str] = {}
        self.frames: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "User":
        account = self._account or new_account()
        if not self._account:
            await self.call("POST", "/api/auth/signup", json=account)
        async with self._http.post(self.base + "/api/auth/login", json=account) as answer:
            assert answer.status == 200, await answer.text()
            self.headers = {"Cookie": f"access_token={answer.cookies['access_token'].value}"}
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
                await self._watching
        await self._http.close()

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request that must succeed; return the decoded answer."""
        status, body = await self.ask(method, path, **options)
        assert status < 400, (method, path, status, body)
        return body

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Send a request; return the status and the decoded answer."""
        async with self._http.request(method, self.base + path, headers=self.headers, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def upload(self, count: int = 1) -> list[str]:
        """Upload photos that differ; return their ids."""
        status, body = await self.try_upload(count)
        assert status == 201, body
        return list(body["media_ids"])

    async def try_upload(self, count: int = 1) -> tuple[int, Any]:
        """Upload photos; return the status and the answer."""
        form = aiohttp.FormData()
        for number in range(count):
            content = make_photo(size=(64 + number, 48), lat=52.5, lng=13.4)
            form.add_field("files", content, filename=f"{number}.jpg", content_type="image/jpeg")
        return await self.ask("POST", "/api/upload/files", data=form)

    async def watch(self, *, base: str | None = None, since: int | None = None) -> None:
        """Open a socket and keep its frames."""
        query = {} if since is None else {"since": str(since)}
        url = (base or self.base) + "/api/upload/ws/updates"
        socket_ = await self._http.ws_connect(url, headers=self.headers, params=query)

        async def read() -> None:
            async for message in socket_:
                self.frames.append(message.json())
            self.close_code = socket_.close_code

        self._watching = asyncio.create_task(read())

    async def statuses(self) -> dict[str, str]:
        """Map the ids of the user's photos to their status."""
        page = await self.call("GET", "/api/vault", params={"page_size": "100"})
        return {item["id"]: item["status"] for item in page["items"]}

    async def history(self, media_id: str) -> list[str]:
        """List the messages of a photo's history."""
        answer = await self.call("GET", f"/api/map/{media_id}/logs")
        return [row["message"] for row in answer["history"]]

    async def until_ready(self, media_ids: list[str], *, within_s: float = 30) -> None:
        """Wait until these photos are READY."""

        async def ready() -> bool:
            statuses = await self.statuses()
            return all(statuses.get(media_id) == "READY" for media_id in media_ids)

        await until(ready, within_s=within_s, every_s=0.1)

    async def fleet(self) -> dict[str, dict[str, Any]]:
        """Map worker names to their nodes on the dashboard."""
        answer = await self.call("GET", "/api/dashboard/ai-workers")
        return {node["name"]: node for node in answer["nodes"]}

    async def worker_of(self, status: str = "PROCESSING") -> str:
        """Wait until a photo of the user's is in that stage; return the name of its worker."""

        async def busy() -> str | None:
            for media_id, found in (await self.statuses()).items():
                if found == status:
                    last = (await self.call("GET", f"/api/map/{media_id}/logs"))["history"][-1]
                    return str(last["worker_name"]) if last["message"].endswith(status) else None
            return None

        return str(await until(busy, every_s=0.05))
