"""A web application on a real database, served over real HTTP, and people who use it.

Every answer that a test gets is held against the OpenAPI document on its way.
"""

import asyncio
import dataclasses
import io
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from aiohttp import ClientResponse, DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web_runner import BaseRunner

from hyperion import logs
from hyperion.db import Database
from hyperion.errors import DatabaseUnavailable
from hyperion.media.store import LocalStore, Store
from hyperion.queue import Wakeup
from hyperion.settings import Settings
from hyperion.web.app import make_app
from hyperion.web.connection import Runner
from tests.photos import make_photo
from tests.web.contract import hold_to_contract
from tests.web.harmless import harm_in

FRONTEND = "https://app.example"
PASSWORD = "a long password"


REGISTER = """
    INSERT INTO actor (node, name, label, kind, boot, pid, state)
    VALUES ($1, 'web', 'web', 'web', $2, 0, 'ready')
"""
_boots = itertools.count(1)


@dataclass
class Site:
    """One web process: its application and a client that keeps no cookies."""

    client: TestClient[web.Request, web.Application]
    app: web.Application
    db: Database
    wakeup: Wakeup
    store: Store
    settings: Settings

    async def sign_up(self, email: str, **more: str) -> ClientResponse:
        return await self.client.post("/api/auth/signup", json={"email": email, "password": PASSWORD, **more})

    async def log_in(self, email: str, password: str = PASSWORD, **headers: str) -> ClientResponse:
        return await self.client.post("/api/auth/login", json={"email": email, "password": password}, headers=headers)

    async def user(self, email: str) -> "Person":
        """Sign a new user up and in."""
        assert (await self.sign_up(email)).status == 201
        answer = await self.log_in(email)
        assert answer.status == 200
        return Person(self, (await answer.json())["user"]["id"], answer.cookies["access_token"].value)


@dataclass
class Person:
    """Somebody who is signed in."""

    site: Site
    id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": f"access_token={self.token}"}

    async def get(self, path: str, **more: Any) -> ClientResponse:
        return await self.site.client.get(path, headers=self.headers | more.pop("headers", {}), **more)

    async def post(self, path: str, **more: Any) -> ClientResponse:
        return await self.site.client.post(path, headers=self.headers | more.pop("headers", {}), **more)

    async def put(self, path: str, **more: Any) -> ClientResponse:
        return await self.site.client.put(path, headers=self.headers | more.pop("headers", {}), **more)

    async def delete(self, path: str, **more: Any) -> ClientResponse:
        return await self.site.client.delete(path, headers=self.headers | more.pop("headers", {}), **more)

    async def upload(self, *files: tuple[str, bytes]) -> ClientResponse:
        return await self.post("/api/upload/files", data=io.BytesIO(form(*files)), headers=MULTIPART)

    async def photo(self, name: str = "photo.jpg", content: bytes | None = None) -> UUID:
        """Upload one photo; return its id."""
        answer = await self.upload((name, content or SMALL))
        assert answer.status == 201, await answer.text()
        return UUID((await answer.json())["media_ids"][0])


SMALL = make_photo(size=(64, 48))


MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


def form(*files: tuple[str, bytes]) -> bytes:
    """Return the multipart body with these files, their names sent as they are; MULTIPART goes with it."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="files"; {_filename(name)}\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in files
    ]
    return b"".join([*parts, b"--b--\r\n"])


def _filename(name: str) -> str:
    return f'filename="{name}"' if name.isprintable() and '"' not in name else f"filename*=UTF-8''{quote(name)}"


MakeSite = Callable[..., Awaitable[Site]]
Printed = Callable[[], str]


@pytest.fixture(autouse=True)
def printed() -> Iterator[Printed]:
    """What has been logged since the test began, as it is printed; the test fails when a line of it is harmful."""
    paper = io.StringIO()
    with redirect_stdout(paper):
        logs.configure("debug")
    yield paper.getvalue
    logs.configure("warning")
    assert harm_in(paper.getvalue()) == []


@pytest.fixture
async def make_site(database_url: str, tmp_path: Path) -> AsyncIterator[MakeSite]:
    """Start web processes on one database, with settings, `bcrypt_rounds` or `store` of their own; they end here."""
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> Site:
            return await stack.enter_async_context(_site(database_url, tmp_path, changes))

        yield make


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    """A web process as in production."""
    return await make_site()


@pytest.fixture
async def ada(site: Site) -> Person:
    """Somebody who is signed in."""
    return await site.user("ada@example.org")


@pytest.fixture
async def bob(site: Site) -> Person:
    """Somebody else."""
    return await site.user("bob@example.org")


class _Server(TestServer):
    """A test server with the connections that users get."""

    async def _make_runner(self, **options: Any) -> BaseRunner:
        return Runner(self.app, **options)


@asynccontextmanager
async def _site(url: str, folder: Path, changes: dict[str, Any]) -> AsyncIterator[Site]:
    settings = Settings(
        database_url=url,
        secret_key="0123456789abcdef0123456789abcdef",
        frontend_urls=(FRONTEND,),
        var_dir=folder / "var",
        store_dir=folder / "store",
    )
    rounds = changes.pop("bcrypt_rounds", 4)
    store: Store = changes.pop("store", None) or LocalStore(settings.store_dir)
    settings = dataclasses.replace(settings, **changes)
    async with Database(settings.database_url, name="web test", max_connections=8) as db:
        wakeup = Wakeup(db)
        boot = next(_boots)
        with suppress(DatabaseUnavailable):  # which some tests are about
            await db.execute(REGISTER, f"web test {boot}", boot)
        app = make_app(settings, db, wakeup, store, boot=boot, bcrypt_rounds=rounds)
        ringing = asyncio.create_task(wakeup.run())
        async with TestClient(_Server(app), cookie_jar=DummyCookieJar(), middlewares=(hold_to_contract,)) as client:
            yield Site(client, app, db, wakeup, store, settings)
        ringing.cancel()
        with suppress(asyncio.CancelledError):
            await ringing
