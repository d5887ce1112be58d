"""Load: so many clients that each ask again as soon as they are answered, by wrk or a small client of our own."""

import asyncio
import multiprocessing
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Served:
    """What came of one run: requests a second, and the 99th percentile of their times.

    wrk corrects the percentile for coordinated omission: a time of several means counts also for the requests that
    its client could not make meanwhile. So a pause of 1 % of the run, as one, is what the percentile shows.
    """

    per_second: float
    p99_ms: float


def generator() -> str:
    """Name what makes the load."""
    return "wrk" if shutil.which("wrk") else "the benchmark's own client"


def load(port: int, paths: Sequence[str], token: str, *, clients: int, seconds: float) -> Served:
    """Ask for the paths in turn, on one connection a client. Raises RuntimeError for any answer but 200."""
    if shutil.which("wrk"):
        return _wrk(port, paths, token, clients, seconds)
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # not in this process: it has things to do
        return pool.apply(_own_client, (port, paths, token, clients, seconds))


def _wrk(port: int, paths: Sequence[str], token: str, clients: int, seconds: float) -> Served:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "paths.lua"
        listed = ",\n".join(f"wrk.format('GET', '{path}')" for path in paths)
        script.write_text(
            f"wrk.headers['Cookie'] = 'access_token={token}'\nlocal requests, n = nil, 0\n"
            f"function init(args) requests = {{\n{listed}\n}} end\n"
            "function request() n = n + 1; return requests[n % #requests + 1] end\n"
        )
        output = subprocess.run(
            ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script),
             f"http://127.0.0.1:{port}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", output)
    if not (rate and p99):
        raise RuntimeError(output)
    return Served(float(rate[1]), float(p99[1]) * _SECONDS[p99[2]] * 1000)


def _own_client(port: int, paths: Sequence[str], token: str, clients: int, seconds: float) -> Served:
    return uvloop.run(_ask(port, paths, token, clients, seconds))


async def _ask(port: int, paths: Sequence[str], token: str, clients: int, seconds: float) -> Served:
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: access_token={token}\r\n\r\n".encode() for path in paths
    ]
    times_s: list[float] = []
    ends_s = time.perf_counter() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while (began_s := time.perf_counter()) < ends_s:
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200") or not length:
                raise RuntimeError(head.decode())
            await reader.readexactly(int(length[1]))
            times_s.append(time.perf_counter() - began_s)
            number += clients
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return Served(len(times_s) / seconds, statistics.quantiles(times_s, n=100)[98] * 1000)
