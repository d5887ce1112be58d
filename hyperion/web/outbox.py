"""What waits to be sent to one socket: bounded, with one writer, and a reason to close."""

import asyncio
from collections.abc import Awaitable, Callable

ROOM = 256


class TooSlow(Exception):
    """The client does not take what is sent to it; the outbox is closed."""


class Outbox:
    """Frames on their way to one client. `close` may be called from anywhere, and twice."""

    def __init__(self, room: int = ROOM) -> None:
        self._frames: asyncio.Queue[str] = asyncio.Queue(room)
        self._closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def put(self, frame: str) -> None:
        """Add a frame when there is room; for what can wait, such as a replay."""
        await self._frames.put(frame)

    def put_nowait(self, frame: str) -> None:
        """Add a frame. Raises TooSlow, and closes with 1013, where there is no room."""
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.close(1013)
            raise TooSlow from None

    def close(self, code: int) -> None:
        """Ask for the socket to be closed with this code; the first one counts."""
        if not self._closed.done():
            self._closed.set_result(code)

    async def closed(self) -> int:
        """Wait until the socket should be closed; return the code."""
        return await asyncio.shield(self._closed)

    async def write_to(self, send: Callable[[str], Awaitable[None]], *, within_s: float) -> None:
        """Send frame after frame until cancelled; close with 1013 where one takes longer than `within_s`."""
        while True:
            frame = await self._frames.get()
            try:
                async with asyncio.timeout(within_s):
                    await send(frame)
            except TimeoutError:
                self.close(1013)
                return
            except ConnectionError:
                self.close(1011)
                return
