"""Who is there, who was there, and how long they wait for answers."""

from datetime import datetime

import msgspec
from aiohttp import web

from hyperion.db import load_queries
from hyperion.web.keys import DB
from hyperion.web.sessions import Session
from hyperion.web.traffic import LOOK_BACK_S

SQL = load_queries(__package__, "dashboard.sql")

DAYS = 7


class UserExperience(msgspec.Struct, frozen=True):
    """`active_now`: sessions of the last 5 minutes; `active_trend`: of each of the last 7 minutes, newest last.

    `avg_response_time`: milliseconds, over all routes and the last 5 minutes. `daily_activity`: distinct
    users of the last 7 days of UTC, today last.
    """

    active_now: int
    active_trend: list[int]
    avg_response_time: float
    daily_activity: list[int]
    last_updated: datetime


async def show_user_experience(request: web.Request, session: Session) -> UserExperience:
    """Show how many people use Hyperion, and how long they wait."""
    db = request.app[DB]
    there = await db.fetch_row(SQL.sessions_there, session.id)
    days = await db.fetch(SQL.users_by_day, session.user.id, DAYS)
    speed = await db.fetch_row(SQL.response_time, LOOK_BACK_S)
    assert there is not None
    assert speed is not None
    return UserExperience(
        active_now=there["active_now"],
        active_trend=there["active_trend"],
        avg_response_time=round(speed["mean_ms"], 2),
        daily_activity=[row["users"] for row in days],
        last_updated=speed["read_at"],
    )
