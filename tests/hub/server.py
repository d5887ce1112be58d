"""A Hub to test against: it speaks what huggingface_hub and hf_xet speak, and fails when it is told to."""

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.hub.faults import CUT, RIGHT, Fault, Faults, Where
from tests.hub.repository import Contents, File, Refused, Repository
from tests.hub.transfers import Handler, Route, Transfers
from tests.until import until

TOKEN = "hf_test"
HOUR_S = 3600.0
PATHS_INFO_MAX = 1000
BODY_MAX_BYTES = 128 << 20


class Hub:
    """One server with its repositories. `commits_per_hour` 0: no quota; `commit_s`: how long one takes."""

    def __init__(self, folder: Path, *, token: str = TOKEN, commits_per_hour: int = 0, commit_s: float = 0.0) -> None:
        self.token = token
        self.may_write = True
        self.commits_per_hour = commits_per_hour
        self.commit_s = commit_s
        self.most_files = 0
        self.faults = Faults()
        self.repositories: dict[str, Repository] = {}
        self.requests: Counter[str] = Counter()
        self.url = ""
        self._contents = Contents(folder)
        self._transfers = Transfers(self._contents, lambda: self.url)
        self._commit_times: deque[float] = deque()
        self._committing = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    def repository(self, repo_id: str) -> Repository:
        """Return a repository that exists."""
        return self.repositories[repo_id]

    def create(self, repo_id: str, *, is_private: bool = True) -> Repository:
        """Make a repository."""
        return self.repositories.setdefault(repo_id, Repository(repo_id, is_private, self._contents))

    async def start(self, port: int = 0) -> str:
        """Listen on the loopback; return the address."""
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        self._add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """Stop listening; may be called twice."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def _add_routes(self, app: web.Application) -> None:
        repo, dataset = "/api/datasets/{owner}/{name}", "/datasets/{owner}/{name}"
        guarded: list[Route] = [
            ("POST", "/api/repos/create", "info", self._create),
            ("GET", repo, "info", self._info),
            ("GET", repo + "/revision/{revision}", "info", self._info),
            ("POST", repo + "/preupload/{revision}", "preupload", self._preupload),
            ("POST", repo + "/paths-info/{revision}", "paths_info", self._paths_info),
            ("POST", repo + "/commit/{revision}", "commit", self._commit),
            ("GET", repo + "/xet-write-token/{revision}", "xet_token", self._transfers.xet_write_token),
            ("POST", dataset + ".git/info/lfs/objects/batch", "lfs_batch", self._transfers.lfs_batch),
            ("POST", dataset + ".git/info/lfs/verify", "lfs_batch", self._transfers.lfs_verify),
            ("GET", dataset + "/resolve/{revision}/{path:.+}", "resolve", self._resolve),
        ]
        for method, path, where, handler in guarded:
            app.router.add_route(method, path, self._guarded(where, handler))
        for method, path, where, handler in self._transfers.signed_routes():
            app.router.add_route(method, path, self._failing(where, handler))

    def _guarded(self, where: Where, handler: Handler) -> Handler:
        """Ask for the token first, as the Hub's own address does."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            is_known = request.headers.get("Authorization") == f"Bearer {self.token}"
            is_public_read = where == "resolve" and not self._repository_of(request).is_private
            if not is_known and not is_public_read:
                return _refusal(Refused(401, "Invalid credentials in Authorization header"))
            if request.method == "POST" and where != "paths_info" and not self.may_write:
                return _refusal(Refused(403, "You don't have the rights to write to this repository"))
            return await handler(request)

        return self._failing(where, guarded)

    def _failing(self, where: Where, handler: Handler) -> Handler:
        """Let a request meet its fault, and turn refusals into answers."""

        async def failing(request: web.Request) -> web.StreamResponse:
            self.requests[where] += 1
            await request.read()
            fault = self.faults.next(where)
            try:
                return await (handler(request) if fault is None else _spoil(request, handler, fault))
            except Refused as refused:
                return _refusal(refused)

        return failing

    def _repository_of(self, request: web.Request) -> Repository:
        repo_id = f"{request.match_info['owner']}/{request.match_info['name']}"
        if repo_id not in self.repositories:
            raise Refused(404, "Repository not found", code="RepoNotFound")
        return self.repositories[repo_id]

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["type"] == "dataset"
        repo_id = f"{asked['organization']}/{asked['name']}"
        if repo_id in self.repositories:
            return web.json_response({"error": "exists", "url": f"{self.url}/datasets/{repo_id}"}, status=409)
        self.create(repo_id, is_private=asked.get("visibility") == "private" or asked.get("private") is True)
        return web.json_response(
            {"url": f"{self.url}/datasets/{repo_id}", "name": repo_id, "id": secrets.token_hex(12)}
        )

    async def _info(self, request: web.Request) -> web.Response:
        repository = self._repository_of(request)
        return web.json_response(
            {
                "id": repository.id,
                "sha": repository.head,
                "private": repository.is_private,
                "disabled": False,
                "gated": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": [],
            }
        )

    async def _preupload(self, request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"files": self._repository_of(request).preupload(asked["files"])})

    async def _paths_info(self, request: web.Request) -> web.Response:
        form = await request.post()
        paths = [str(path) for path in form.getall("paths")]
        if len(paths) > PATHS_INFO_MAX:
            raise Refused(413, "too many parameters")
        files = self._repository_of(request).files
        return web.json_response([_listed(path, files[path]) for path in paths if path in files])

    async def _commit(self, request: web.Request) -> web.Response:
        repository = self._repository_of(request)
        body = await request.read()
        self._check_quota()
        if self.most_files and body.count(b"\n") - 1 > self.most_files:
            raise Refused(413, "Payload Too Large")
        if self._committing.locked():
            raise Refused(409, "Another commit operation is in progress, please retry")
        async with self._committing:
            await asyncio.sleep(self.commit_s)
            commit = repository.commit(body)
        self._commit_times.append(time.monotonic())
        url = f"{self.url}/datasets/{repository.id}/commit/{commit.oid}"
        return web.json_response({"success": True, "commitUrl": url, "commitOid": commit.oid})

    def _check_quota(self) -> None:
        now_s = time.monotonic()
        while self._commit_times and self._commit_times[0] < now_s - HOUR_S:
            self._commit_times.popleft()
        if self.commits_per_hour and len(self._commit_times) >= self.commits_per_hour:
            minutes = int((self._commit_times[0] + HOUR_S - now_s) / 60) + 1
            raise Refused(
                429,
                f"You have exceeded the rate limit for repository commits ({self.commits_per_hour} per hour). "
                f"You can retry this action in {minutes} minutes.",
            )

    async def _resolve(self, request: web.Request) -> web.Response:
        repository = self._repository_of(request)
        file = repository.files.get(request.match_info["path"])
        headers = {"X-Repo-Commit": repository.head}
        if file is None:
            raise Refused(404, "Entry not found", code="EntryNotFound")
        if not file.is_lfs:
            content = self._contents.path(file.sha256).read_bytes()
            return web.Response(body=content, headers=headers | {"ETag": f'"{file.git_oid}"'})
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"', "ETag": f'"{file.sha256}"'}
        # Another host name, as the real thing has: no token may be sent there.
        cdn = self.url.replace("127.0.0.1", "localhost")
        return web.Response(status=302, headers=headers | {"Location": f"{cdn}/cdn/{file.sha256}?Signature=x"})


async def _spoil(request: web.Request, handler: Handler, fault: Fault) -> web.StreamResponse:
    """Let one request go wrong."""
    answer: web.StreamResponse | None = None
    if fault.takes_place:
        await until(fault.may_take_place)
        answer = await handler(request)
    await asyncio.sleep(fault.delay_s)
    if fault.status == RIGHT and answer is not None:
        return answer
    if fault.status == CUT:
        if request.transport is not None:
            request.transport.abort()
        raise web.HTTPInternalServerError
    headers = {"Content-Type": "application/json" if fault.body.startswith("{") else "text/html"} | fault.headers
    return web.Response(status=fault.status, body=fault.body.encode(), headers=headers)


def _refusal(refused: Refused) -> web.Response:
    headers = {"X-Error-Message": refused.message} | ({"X-Error-Code": refused.code} if refused.code else {})
    return web.json_response({"error": refused.message}, status=refused.status, headers=headers)


def _listed(path: str, file: File) -> dict[str, Any]:
    listed: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.git_oid}
    return listed | ({"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 130}} if file.is_lfs else {})


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[Hub]:
    """Run a Hub for the time of the block."""
    hub = Hub(folder, **options)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()
