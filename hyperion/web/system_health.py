"""How busy the machines are, how busy they were, and how much of the day Hyperion ran."""

from datetime import datetime
from typing import Literal

import msgspec
from aiohttp import web

from hyperion.db import load_queries
from hyperion.web.keys import DB, SETTINGS
from hyperion.web.sessions import Session

SQL = load_queries(__package__, "dashboard.sql")

DAYS = 7

Pressure = Literal["STABILIZED", "ACTIVE", "HEAVY_LOAD", "STRESSED"]


class SystemHealth(msgspec.Struct, frozen=True):
    """All in percent. `cpu` and `memory` are those of the busiest node, which `node` names (null: none is sampled).

    `source` says how they were measured: `cgroup v2`, `cgroup v1`, `psutil`, or `none`. `server_load`
    holds the last 7 days of UTC, today last; `uptime` is about the last 24 hours.
    """

    status: Pressure
    environment: str
    uptime: float
    server_load: list[float]
    last_updated: datetime
    cpu: float
    memory: float
    source: str
    node: str | None


async def show_system_health(request: web.Request, session: Session) -> SystemHealth:
    """Show the load of the machines."""
    db, settings = request.app[DB], request.app[SETTINGS]
    busiest = await db.fetch_row(SQL.pressures, settings.offline_s)
    past = await db.fetch_row(SQL.load_and_uptime, DAYS)
    assert past is not None
    cpu, memory = (busiest["cpu_percent"], busiest["memory_percent"]) if busiest else (0.0, 0.0)
    return SystemHealth(
        status=pressure(max(cpu, memory)),
        environment=settings.environment,
        uptime=past["uptime"],
        server_load=past["server_load"],
        last_updated=past["read_at"],
        cpu=round(cpu, 2),
        memory=round(memory, 2),
        source=busiest["source"] if busiest else "none",
        node=busiest["node"] if busiest else None,
    )


def pressure(percent: float) -> Pressure:
    """Say in one word how near a machine is to its limit."""
    if percent < 30:
        return "STABILIZED"
    if percent <= 80:
        return "ACTIVE"
    return "HEAVY_LOAD" if percent <= 95 else "STRESSED"
