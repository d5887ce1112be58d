"""A proxy between the tree and Postgres that can be as bad as a network."""

import asyncio
import contextlib
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hyperion.db.embedded import EmbeddedPostgres

CHUNK_BYTES = 64 << 10


def socket_of(postgres: EmbeddedPostgres) -> Path:
    """Return the unix socket that a server listens on."""
    [folder] = parse_qs(urlsplit(postgres.url()).query)["host"]
    return Path(folder) / ".s.PGSQL.5432"


class Proxy:
    """Forwards the port `port` of the loopback to a unix socket, unless told to do worse.

    Everything may be called at any time and on top of what is going on already; `mend` ends it all.
    """

    def __init__(self, target: Path) -> None:
        self.port = 0
        self.delay_s = 0.0
        self.knocks_at_s: list[float] = []
        self.lost_answers = 0
        self._is_turning_away = False
        self._needle = b""
        self._lose_one_in = 1
        self._needles = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def url(self, url: str) -> str:
        """Return the way to the database of `url` through this proxy. Without TLS a knock is one connection."""
        return f"postgresql://postgres@127.0.0.1:{self.port}{urlsplit(url).path}?sslmode=disable"

    async def start(self) -> None:
        """Listen; again on the same port after `refuse`."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no more connections and cut those that are there."""
        self.refuse()
        self._flowing.set()
        while self.cut():  # also those that were accepted before and come to be links only now
            await asyncio.sleep(0.01)

    async def mend(self) -> None:
        """Be a good network again. What was stranded stays so until its ends notice."""
        self.delay_s = 0.0
        self._is_turning_away = False
        self.thaw()
        await self.start()

    def refuse(self) -> None:
        """Refuse new connections; those that are there stay."""
        server, self._server = self._server, None
        if server:
            server.close()

    def cut(self) -> int:
        """Reset every connection on both sides; return how many there were."""
        for link in self._links:
            link.abort()
        return len(self._links)

    def turn_away(self) -> None:
        """Reset every connection, and from now on all that come, noting in `knocks_at_s` when they do."""
        self._is_turning_away = True
        self.knocks_at_s.clear()
        self.cut()

    def lose_answers_to(self, needle: bytes, *, one_in: int = 1) -> None:
        """Reset one in so many connections that send `needle`, once the server has answered.

        b"" ends it. `lost_answers` counts them.
        """
        self._needle, self._lose_one_in = needle, one_in

    def freeze(self) -> None:
        """Let nothing pass, in no direction, nor that somebody has closed; still accept."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let everything pass that was held up."""
        self._flowing.set()

    def strand(self, *, server_learns_after_s: float) -> int:
        """Leave every connection half open; return how many. New ones are fine.

        Neither side hears of the other again. The server's kernel finds out by its keepalive.
        """
        for link in self._links:
            link.strand(server_learns_after_s)
        return len(self._links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_turning_away:
            self.knocks_at_s.append(time.monotonic())
            writer.transport.abort()
            return
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run(self._target)
        finally:
            link.abort()
            self._links.discard(link)

    async def pass_on(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one direction of a connection to its end, as well as the network is just now."""
        while chunk := await reader.read(CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self._flowing.wait()
            if link.is_answer_lost:
                self.lost_answers += 1
                return
            link.is_answer_lost = self._shall_lose_answer_to(chunk)
            writer.write(chunk)
            await writer.drain()
        await self._flowing.wait()

    def _shall_lose_answer_to(self, chunk: bytes) -> bool:
        if not self._needle or self._needle not in chunk:
            return False
        self._needles += 1
        return self._needles % self._lose_one_in == 0


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._client = writer
        self._server: asyncio.StreamWriter | None = None
        self._pumps: list[asyncio.Task[None]] = []
        self.is_answer_lost = False
        self._stranded = False

    async def run(self, target: Path) -> None:
        """Forward until one side closes; where that is stranded, until the client does."""
        with contextlib.suppress(OSError):
            reader, self._server = await asyncio.open_unix_connection(target)
            self._pumps = [
                asyncio.create_task(self._proxy.pass_on(self, self._reader, self._server)),
                asyncio.create_task(self._proxy.pass_on(self, reader, self._client)),
            ]
            await asyncio.wait(self._pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)
            while self._stranded and await self._reader.read(CHUNK_BYTES):
                continue

    def strand(self, server_learns_after_s: float) -> None:
        self._stranded = True
        for pump in self._pumps:
            pump.cancel()
        if self._server:
            # Its own, not the link's: the server learns even when the client has long gone.
            server, self._server = self._server, None
            asyncio.get_running_loop().call_later(server_learns_after_s, server.transport.abort)

    def abort(self) -> None:
        self._client.transport.abort()
        if self._server:
            self._server.transport.abort()
