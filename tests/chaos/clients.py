"""People who use the system while it suffers, and remember what they were told."""

import asyncio
import contextlib
import json
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.photos import make_photo

ANSWER_LIMIT_S = 8.0
MOST_UNFINISHED = 25
THINKING_S = (0.1, 0.5)
SOCKET_LIFE_S = (1.0, 8.0)
RECONNECT_S = 0.2
BATCH_MOST = 4
NOT_SENT, NO_ANSWER = -1, -2
AWAY = (NOT_SENT, NO_ANSWER, 503)


@dataclass
class Memory:
    """What one person knows for certain, and what they were left in doubt of."""

    photos: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    tasks: set[int] = field(default_factory=set)
    again: Counter[str] = field(default_factory=Counter)
    doubtful_photos: int = 0
    doubtful_deletions: set[str] = field(default_factory=set)
    doubtful_tasks: int = 0
    doubtful_again: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """One message of a socket."""

    seq: int
    media_id: str
    status: str


class Feed:
    """What came over all sockets of one person, one after the other, each from where the last ended."""

    def __init__(self) -> None:
        self.place = 0
        self.frames: list[Frame] = []
        self.sockets = 0
        self.complaints: list[str] = []

    def take(self, frame: dict[str, Any]) -> None:
        """Keep a frame; one that is not newer than all before is a complaint."""
        seq = int(frame["seq"])
        if seq <= self.place:
            self.complaints.append(f"frame {seq} came after frame {self.place}")
        self.place = max(self.place, seq)
        self.frames.append(Frame(seq, frame["media_id"], frame["status"]))


class Person:
    """Uploads, deletes, has photos analysed again, dispatches tasks, and watches. One at a time."""

    def __init__(self, base: str, *, seed: int, deletes: bool) -> None:
        self.id = ""
        self.memory = Memory()
        self.feed = Feed()
        self._base = base
        self._chance = random.Random(seed)
        self._deletes = deletes
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_S))
        self._headers: dict[str, str] = {}
        self._ready: set[str] = set()

    async def __aenter__(self) -> "Person":
        who = {"email": f"{secrets.token_hex(6)}@example.org", "password": "a long password"}
        async with self._http.post(self._base + "/api/auth/signup", json=who) as answer:
            assert answer.status == 201, await answer.text()
        async with self._http.post(self._base + "/api/auth/login", json=who) as answer:
            assert answer.status == 200, await answer.text()
            self.id = (await answer.json())["user"]["id"]
            self._headers = {"Cookie": f"access_token={answer.cookies['access_token'].value}"}
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._http.close()

    async def live(self) -> None:
        """Do one thing after the other until cancelled; what is under way then stays in doubt."""
        while True:
            await asyncio.sleep(self._chance.uniform(*THINKING_S))
            [act] = self._chance.choices(
                [self._upload, self._analyse_again, self._dispatch, self._delete], [40, 20, 25, 15 * self._deletes]
            )
            await act()

    async def watch(self) -> None:
        """Follow the live updates until cancelled, over sockets that end early."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                await self._watch_once(self._chance.uniform(*SOCKET_LIFE_S))
            await asyncio.sleep(RECONNECT_S)

    async def _watch_once(self, life_s: float) -> None:
        socket = await self._http.ws_connect(
            self._base + "/api/upload/ws/updates", headers=self._headers, params={"since": str(self.feed.place)}
        )
        self.feed.sockets += 1
        try:
            async with asyncio.timeout(life_s):
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        self.feed.take(message.json())
        finally:
            await socket.close()

    async def _upload(self) -> None:
        if len(self.memory.photos - self._ready - self.memory.deleted) > MOST_UNFINISHED:
            await self._look()
            return
        count = self._chance.randint(1, BATCH_MOST)
        form = aiohttp.FormData()
        for number in range(count):
            content = make_photo(size=(64 + number, 48), lat=52.5, lng=13.4)
            form.add_field("files", content, filename=f"{number}.jpg", content_type="image/jpeg")
        self.memory.doubtful_photos += count
        status, body = await self._ask("POST", "/api/upload/files", data=form)
        if status == NOT_SENT:
            self.memory.doubtful_photos -= count
        if status != 201:
            self._complain_unless(status in AWAY, f"upload was answered {status}: {body}")
            return
        self.memory.photos.update(body["media_ids"])
        self.memory.doubtful_photos -= len(body["media_ids"])
        rejected = {entry["code"] for entry in body["rejected"]}
        self._complain_unless(rejected <= {"unavailable"}, f"upload was rejected: {body['rejected']}")

    async def _delete(self) -> None:
        media_id = self._any_of(self.memory.photos - self.memory.deleted)
        if media_id is None:
            return
        before = media_id in self.memory.doubtful_deletions
        # For good, also where it was not sent: aiohttp sends a DELETE again when the first got no answer.
        self.memory.doubtful_deletions.add(media_id)
        status, body = await self._ask("DELETE", f"/api/vault/{media_id}")
        if status == 200 or (status == 404 and before):
            self.memory.deleted.add(media_id)
        else:
            self._complain_unless(status in AWAY, f"deleting {media_id} was answered {status}: {body}")

    async def _dispatch(self) -> None:
        self.memory.doubtful_tasks += 1
        status, body = await self._ask("POST", "/api/dashboard/ai-workers/dispatch", json={"action": "chaos"})
        if status in (200, NOT_SENT):
            self.memory.doubtful_tasks -= 1
        if status == 200:
            self.memory.tasks.add(int(body["task_id"]))
        else:
            self._complain_unless(status in AWAY, f"dispatching was answered {status}: {body}")

    async def _analyse_again(self) -> None:
        await self._look()
        media_id = self._any_of(self._ready - self.memory.deleted)
        if media_id is None:
            return
        self.memory.doubtful_again[media_id] += 1
        status, body = await self._ask("POST", "/api/dashboard/ai-workers/dispatch", json={"media_id": media_id})
        if status == 200:
            self.memory.again[media_id] += 1
        if status in (200, 404, 409, NOT_SENT):
            self.memory.doubtful_again[media_id] -= 1
        is_gone = status == 404 and media_id in self.memory.doubtful_deletions
        self._complain_unless(
            is_gone or status in (200, 409, *AWAY), f"analysing {media_id} again was answered {status}: {body}"
        )

    async def _look(self) -> None:
        """Remember which photos are finished, as the vault shows the newest hundred."""
        status, body = await self._ask("GET", "/api/vault", params={"page_size": "100"})
        if status == 200:
            finished = {"READY", "FAILED"}
            self._ready = {item["id"] for item in body["items"] if item["status"] in finished}
        else:
            self._complain_unless(status in AWAY, f"the vault was answered {status}: {body}")

    def _any_of(self, media_ids: set[str]) -> str | None:
        return self._chance.choice(sorted(media_ids)) if media_ids else None

    def _complain_unless(self, is_fine: bool, complaint: str) -> None:
        if not is_fine:
            self.memory.complaints.append(complaint)

    async def _ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Send a request; return status and answer, or NO_ANSWER or NOT_SENT and why."""
        try:
            async with self._http.request(method, self._base + path, headers=self._headers, **options) as answer:
                return answer.status, json.loads(await answer.read())
        except aiohttp.ClientConnectorError as error:
            return NOT_SENT, str(error)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            return NO_ANSWER, f"{type(error).__name__}: {error}"
