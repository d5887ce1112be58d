"""What an attacker sends below HTTP, over sockets of its own: no requests, slow ones, two in one."""

import asyncio
import socket
import time
from contextlib import suppress

import msgspec
import pytest
import structlog

from hyperion.settings import Settings
from hyperion.web import connection
from tests.until import until
from tests.web.conftest import SMALL, MakeSite, Site

LOGIN = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def exchange(site: Site, *pieces: bytes, within_s: float = 5) -> bytes:
    """Send bytes over a connection of its own; return all that comes back until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
    writer.write(b"".join(pieces))
    try:
        return await asyncio.wait_for(reader.read(), within_s)
    finally:
        writer.close()


def head_of(answer: bytes) -> tuple[int, dict[str, str]]:
    """Return status and headers, named in lower case, of the first answer."""
    first, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


TWO_LENGTHS = [
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
    b"Content-Length: 2\r\nContent-Length: 3\r\n",
    b"Content-Length: 2, 3\r\n",
    b"Content-Length: +2\r\n",
    b"Content-Length: -2\r\n",
    b"Content-Length: 2_0\r\n",
    b"Content-Length: 0x2\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"X: y\r\n Content-Length: 2\r\n",
    b"X: a\0b\r\n",
    b"X: a\nContent-Length: 2\r\n\r\n",
]


async def test_a_request_with_two_ideas_of_its_length_is_400_and_hides_no_other(site: Site) -> None:
    """Row 31: what a proxy might take for its body is never answered as a request."""
    hidden = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

    for framing in TWO_LENGTHS:
        answer = await exchange(site, LOGIN, framing, b"\r\n{}", hidden)

        status, headers = head_of(answer)
        assert (status, headers["content-type"]) == (400, "application/problem+json"), framing
        assert answer.count(b"HTTP/1.") == 1, framing
        assert b"alive" not in answer, framing


NO_REQUESTS = [
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",  # the beginning of TLS
    b"GET / HTTP/9.9\r\n\r\n",
    b"<script> / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nCookie access_token=secret\r\n\r\n",
    b"GET / HTTP/1.1\r\nCookie: access_token=secret\0\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
]


async def test_bytes_that_are_no_request_get_an_answer_like_every_other_and_are_not_repeated(site: Site) -> None:
    """Row 28, row 25."""
    for junk in NO_REQUESTS:
        with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logged:
            answer = await exchange(site, junk)

        status, headers = head_of(answer)
        assert (status, headers["content-type"]) == (400, "application/problem+json"), junk[:40]
        assert {"strict-transport-security", "content-security-policy", "referrer-policy"} <= headers.keys()
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        body = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
        [line] = logged
        assert (line["event"], line["log_level"]) == ("request.unreadable", "info")
        assert body["request_id"] == headers["x-request-id"] == line["request_id"]
        assert b"secret" not in answer
        assert "secret" not in str(logged)


ODD_TARGETS = [
    b"GET http://evil.example/livez HTTP/1.1\r\nHost: x",
    b"GET //evil.example/%2e%2e/livez HTTP/1.1\r\nHost: x",
    b"GET /api/vault/%00 HTTP/1.1\r\nHost: x",
    b"GET /%ff%fe?%ff=%fe HTTP/1.1\r\nHost: x",
    b"GET /api/vault?page=%ff HTTP/1.1\r\nHost: x",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x",
    b"OPTIONS * HTTP/1.1\r\nHost: x",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x",
    b"TRACE / HTTP/1.1\r\nHost: x",
    b"PRI * HTTP/2.0\r\nHost: x",
    b"GET / HTTP/1.1\r\nHost: x\r\nExpect: the unexpected",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\nExpect: the unexpected",
    b"GET / HTTP/1.1\r\nHost: \xff\r\nX-Request-ID: \xff\r\nAuthorization: Bearer \xff",
    b"GET /api/auth/me HTTP/1.1\r\nHost: x\r\nCookie: \xff; access_token=\xff",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
    b"GET / HTTP/1.1",
]


async def test_odd_targets_and_headers_are_no_server_error_and_have_every_header(site: Site) -> None:
    """Row 25, row 28."""
    for head in ODD_TARGETS:
        answer = await exchange(site, head, b"\r\nConnection: close\r\n\r\n")

        status, headers = head_of(answer)
        assert 200 <= status < 500, head
        assert headers["x-content-type-options"] == "nosniff", head
        assert headers["x-request-id"], head
        assert status < 400 or headers["content-type"] == "application/problem+json", head
        assert b"evil.example" not in answer
        assert b"unexpected" not in answer


async def test_headers_that_never_end_are_cut_off(make_site: MakeSite) -> None:
    """Row 32: a byte now and then does not prolong it, on a new connection or one that served already."""
    site = await make_site(request_timeout_s=0.4)
    for served in (b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
        writer.write(served)
        if served:
            await reader.readuntil(b"alive")
        began_s = time.monotonic()
        writer.write(b"GET / HTTP/1.1\r\n")
        trickling = asyncio.create_task(trickle(writer, b"X: y\r\n"))

        await asyncio.wait_for(read_to_end(reader), 5)

        assert time.monotonic() - began_s > 0.2
        await stopped(trickling)
        writer.close()


async def test_a_connection_that_never_asks_is_cut_off_and_one_that_has_asked_may_wait(make_site: MakeSite) -> None:
    site = await make_site(request_timeout_s=0.3)
    silent, silent_writer = await asyncio.open_connection("127.0.0.1", site.client.port)
    waiting, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
    ask = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(ask)
    await waiting.readuntil(b"alive")

    assert await asyncio.wait_for(silent.read(), 5) == b""

    writer.write(ask)
    await asyncio.wait_for(waiting.readuntil(b"alive"), 5)
    for open_writer in (silent_writer, writer):
        open_writer.close()


SLOW_BODIES = {
    "json": LOGIN + b"Content-Length: 60000\r\n\r\n",
    "chunked json": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n",
    "nobody reads it": b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
}


@pytest.fixture
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time in which the rest of an answered body is swallowed, from 5 s."""
    monkeypatch.setattr(connection, "LINGER_S", 0.3)


@pytest.mark.usefixtures("no_lingering")
async def test_a_body_that_trickles_is_408_and_the_connection_closed(make_site: MakeSite) -> None:
    """Row 32: also one that no handler reads, and an upload of ever new little parts."""
    site = await make_site(request_timeout_s=0.4)
    ada = await site.user("ada@example.org")
    upload = (
        "POST /api/upload/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Cookie: access_token={ada.token}\r\nContent-Length: 100000\r\n\r\n"
    ).encode()
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n'
    slow = {kind: (head, b"1\r\n \r\n" if "chunked" in kind else b" ") for kind, head in SLOW_BODIES.items()}
    slow |= {"upload": (upload, b" "), "parts": (upload, part)}

    for kind, (head, piece) in slow.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
        writer.write(head)
        trickling = asyncio.create_task(trickle(writer, piece))

        answer = await asyncio.wait_for(read_to_end(reader), 10)  # the whole would take minutes

        assert head_of(answer)[0] == (200 if kind == "nobody reads it" else 408), kind
        await stopped(trickling)
        writer.close()


def test_the_times_of_a_slow_client_add_up_to_less_than_half_a_minute() -> None:
    """Row 32: the tests above shorten them."""
    assert Settings().request_timeout_s + connection.LINGER_S < 30


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(make_site: MakeSite) -> None:
    site = await make_site(request_timeout_s=1.0)
    ada = await site.user("ada@example.org")
    media_id = await ada.photo(content=SMALL + bytes(20 << 20))
    connection_ = socket.socket()
    connection_.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection_.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection_, ("127.0.0.1", site.client.port))
    await loop.sock_sendall(
        connection_,
        f"GET /api/media/{media_id}/image HTTP/1.1\r\nHost: x\r\nCookie: access_token={ada.token}\r\n\r\n".encode(),
    )
    spool = site.settings.var_dir / "spool"
    await until(lambda: list(spool.glob("*")))

    await until(lambda: not list(spool.glob("*")), within_s=15)

    connection_.close()


async def trickle(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while True:
        writer.write(piece)
        await asyncio.sleep(0.05)


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection is closed or reset."""
    got = bytearray()
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            got += chunk
    return bytes(got)
