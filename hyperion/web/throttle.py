"""How often somebody may guess wrong: per account and per address, across processes and restarts."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from aiohttp import web

from hyperion.db import Database, load_queries
from hyperion.web.problems import Problem

SQL = load_queries(__package__, "auth.sql")

WINDOW_S = 900.0
PER_ACCOUNT = 5
PER_ADDRESS = 20
_IPV6_SITE_BITS = 64  # what one subscriber gets


@dataclass
class Attempt:
    """One guess. It stays a failure unless `succeeded` is set."""

    succeeded: bool = False


class Throttle:
    """Counts failed logins in the database. `trusted_hops` proxies in front are believed."""

    def __init__(self, db: Database, *, trusted_hops: int) -> None:
        self._db = db
        self._trusted_hops = trusted_hops
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(self, request: web.Request, account_key: str) -> AsyncIterator[Attempt]:
        """Count a guess as failed before it is checked, and take it back if it was right.

        Counting first is what holds when a hundred guesses arrive at once, on several processes.
        Within a process one account's guesses take turns, so that many right ones at once do not use
        up the allowance before the first of them is checked. Raises Problem 429.
        """
        # Named, because the dictionary alone does not keep the lock alive.
        turn = self._turns.setdefault(account_key, asyncio.Lock())
        async with turn:
            rows = await self._count(account_key, _address_key(client_address(request, self._trusted_hops)))
            guess = Attempt()
            yield guess
            if guess.succeeded:
                await self._db.execute(SQL.forget_failures, account_key, rows)

    async def _count(self, account_key: str, address_key: str) -> list[int]:
        keys = sorted([account_key, address_key])
        allowed = [PER_ACCOUNT if key == account_key else PER_ADDRESS for key in keys]
        async with self._db.transaction() as connection:
            await connection.execute(SQL.lock_keys, keys)
            used_up = await connection.fetch(SQL.failures, keys, allowed, WINDOW_S)
            if used_up:
                raise _too_many(max(1, *(row["wait_s"] for row in used_up)))
            return [row["id"] for row in await connection.fetch(SQL.record_failures, keys)]


def client_address(request: web.Request, trusted_hops: int) -> str:
    """Return the client's address.

    Every proxy appends whom it heard from to X-Forwarded-For, so with n trusted proxies the n-th
    entry from the end was written by one of them, and what stands before it by anybody.
    """
    peer = request.remote or "unknown"
    chain = [entry.strip() for line in request.headers.getall("X-Forwarded-For", ()) for entry in line.split(",")]
    if not trusted_hops or not chain:
        return peer
    try:
        return str(ipaddress.ip_address(chain[-min(trusted_hops, len(chain))]))
    except ValueError:
        return peer


def _address_key(address: str) -> str:
    """Return what an address is counted under; IPv6 clients by their /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address:{address[:64]}"
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or ipaddress.ip_network((parsed, _IPV6_SITE_BITS), strict=False).network_address
    return f"address:{parsed}"


def _too_many(wait_s: int) -> Problem:
    return Problem(
        429,
        "too_many_failures",
        f"Too many failed logins. Try again in {wait_s} s.",
        headers={"Retry-After": str(wait_s)},
    )
