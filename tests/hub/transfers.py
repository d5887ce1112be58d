"""How photos get to the test's Hub and away from it: LFS, xet, and the network that hands them out."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.hub.cas import Cas
from tests.hub.faults import Where
from tests.hub.repository import Contents, Refused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Where, Handler]


class Transfers:
    """The routes beside the repositories' own. `address()`: where the Hub listens."""

    def __init__(self, contents: Contents, address: Callable[[], str]) -> None:
        self._contents = contents
        self._address = address
        self._cas = Cas(contents)
        # A name of its own for each server: hf_xet remembers by address what it has sent.
        self._cas_path = f"/cas-{secrets.token_hex(4)}"
        self._xet_token = secrets.token_hex(8)

    def signed_routes(self) -> list[Route]:
        """List the routes whose addresses the Hub hands out: they ask for no token of a user."""
        cas = self._cas_path
        return [
            ("PUT", "/lfs/{oid}", "lfs_put", self.lfs_put),
            ("GET", cas + "/v1/chunks/{prefix}/{hash}", "xorb", self.nothing),
            ("POST", cas + "/v1/xorb-grants/{prefix}/{hash}", "xorb", self.nothing),
            ("POST", cas + "/v1/xorbs/{prefix}/{hash}", "xorb", self.xorb),
            ("POST", cas + "/v1/shards", "shard", self.shard),
            ("POST", cas + "/v2/shards", "shard", self.shard),
            ("GET", "/cdn/{oid}", "resolve", self.cdn),
        ]

    async def xet_write_token(self, _: web.Request) -> web.Response:
        cas, expires_at = self._address() + self._cas_path, int(time.time()) + 3600
        headers = {
            "X-Xet-Cas-Url": cas,
            "X-Xet-Access-Token": self._xet_token,
            "X-Xet-Token-Expiration": str(expires_at),
        }
        answer = {"casUrl": cas, "accessToken": self._xet_token, "exp": expires_at}
        return web.json_response(answer, headers=headers)

    async def nothing(self, _: web.Request) -> web.Response:
        raise Refused(404, "not found")

    async def xorb(self, request: web.Request) -> web.Response:
        self._check_xet(request)
        body = await request.read()
        is_new = await asyncio.to_thread(self._cas.add_xorb, request.match_info["hash"], body)
        return web.json_response({"was_inserted": is_new})

    async def shard(self, request: web.Request) -> web.Response:
        self._check_xet(request)
        await asyncio.to_thread(self._cas.add_shard, await request.read())
        if "/v1/" in request.path:
            return web.json_response({"result": 1})
        return web.Response(text='{"type": "result"}\n', content_type="application/x-ndjson")

    def _check_xet(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self._xet_token}":
            raise Refused(401, "the token is not one for xet")

    async def lfs_batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        verify = f"{self._address()}{request.path.removesuffix('objects/batch')}verify"
        objects = []
        for each in asked["objects"]:
            answer: dict[str, Any] = {"oid": each["oid"], "size": each["size"]}
            if not self._contents.has(each["oid"]):
                answer["actions"] = {
                    "upload": {"href": f"{self._address()}/lfs/{each['oid']}", "header": {}},
                    "verify": {"href": verify, "header": {}},
                }
            objects.append(answer)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def lfs_put(self, request: web.Request) -> web.Response:
        content = await request.read()
        if "Authorization" in request.headers:
            raise Refused(400, "the address is signed: only one way to sign in is allowed")
        if await asyncio.to_thread(self._contents.keep, content) != request.match_info["oid"]:
            raise Refused(400, "the bytes are not those that were announced")
        return web.Response()

    async def lfs_verify(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if not self._contents.has(asked["oid"]):
            raise Refused(404, "not uploaded")
        return web.Response()

    async def cdn(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            raise Refused(400, "the address is signed: only one way to sign in is allowed")
        return web.FileResponse(self._contents.path(request.match_info["oid"]))
