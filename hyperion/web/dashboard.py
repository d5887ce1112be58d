"""The fleet of workers: who does what, and giving it something to do."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Meta

from hyperion.db import Database, Record, load_queries
from hyperion.media import photos
from hyperion.media.store import state
from hyperion.media.transaction import ANALYSE_LANE, photo_transaction
from hyperion.queue import NewTask, count_ready
from hyperion.web.keys import DB, WAKEUP
from hyperion.web.kinds import Instant, Share
from hyperion.web.problems import media_not_found
from hyperion.web.reading import parse_media_id
from hyperion.web.sessions import Session
from hyperion.web.together import Together

SQL = load_queries(__package__, "dashboard.sql")

DEFAULT_ACTION = "Generic AI Task"
STRESSED_FROM = 8
OPTIMAL_FROM = 3

StoreStatus = Literal["ready", "throttled", "refused", "away"]
NodeStatus = Literal["Working", "Active", "Paused", "Offline"]
ClusterStatus = Literal["Stressed", "Optimal", "Degraded"]
Action = Annotated[str, Meta(max_length=200)]


class WorkerNode(msgspec.Struct, frozen=True):
    """One worker. `progress` is the share 0..1 of its task that is done."""

    name: str
    status: NodeStatus
    tasks_processed_today: int
    current_task_id: str | None
    current_task_status: str | None
    last_ping: Instant
    restarts: int
    node: str
    progress: Share | None


class StoreView(msgspec.Struct, frozen=True):
    """How the store of photos is doing; while it is not `ready` photos wait, until `resumes_at` at least."""

    state: StoreStatus
    detail: str | None
    resumes_at: Instant | None


class Fleet(msgspec.Struct, frozen=True):
    """All workers, how many tasks wait for one, and the store that photos go to first."""

    total_active_fleet: int
    cluster_status: ClusterStatus
    nodes: list[WorkerNode]
    queue_depth: int
    last_updated: Instant
    store: StoreView


FLEET = web.AppKey("fleet", Together[bytes])  # every dashboard asks for it again and again


class DispatchQuery(msgspec.Struct, frozen=True):
    """What to do, where the body does not say it."""

    action: Action | None = None


class Dispatch(msgspec.Struct, frozen=True):
    """What to do, and with which photo."""

    action: Action | None = None
    media_id: str | None = None


class Dispatched(msgspec.Struct, frozen=True):
    """A task that is on its way."""

    message: str
    task_id: str
    action: str
    queue_size: int


async def show_fleet(request: web.Request, session: Session) -> web.Response:
    """Show every worker of every node."""
    return web.Response(body=await request.app[FLEET].ask(), content_type="application/json")


async def read_fleet(db: Database, *, store_name: str, offline_s: float) -> bytes:
    """Return a Fleet as it is now, as JSON. Raises DatabaseUnavailable."""
    rows, queue_depth, store = await asyncio.gather(
        db.fetch(SQL.workers), count_ready(db, lane=ANALYSE_LANE), state.show(db, store_name)
    )
    nodes = [_node(row, offline_s=offline_s) for row in rows]
    statuses = [node.status for node in nodes]
    fleet = Fleet(
        total_active_fleet=statuses.count("Active") + statuses.count("Working"),
        cluster_status=cluster_status(statuses),
        nodes=nodes,
        queue_depth=queue_depth,
        last_updated=rows[0]["read_at"] if rows else datetime.now(UTC),
        store=msgspec.convert(store, StoreView, from_attributes=True),
    )
    return msgspec.json.encode(fleet)


async def dispatch(request: web.Request, session: Session, query: DispatchQuery, body: Dispatch | None) -> Dispatched:
    """Have a photo analysed again, or a task simulated that shows like any other."""
    action = (body.action if body else None) or query.action or DEFAULT_ACTION
    if body and body.media_id:
        task_id = await _analyse_again(request, session.user.id, parse_media_id(body.media_id))
    else:
        task_id = await _simulate(request, action)
    waiting = await count_ready(request.app[DB], lane=ANALYSE_LANE)
    return Dispatched(f"Task {task_id} dispatched to the Titan fleet.", str(task_id), action, waiting)


def cluster_status(statuses: Sequence[NodeStatus]) -> ClusterStatus:
    """Sum up the fleet: Stressed at 8 or more working, Optimal at 3 or more that are there at all."""
    working = statuses.count("Working")
    if working >= STRESSED_FROM:
        return "Stressed"
    return "Optimal" if working + statuses.count("Active") >= OPTIMAL_FROM else "Degraded"


def node_status(*, state: str, silent_s: float, offline_s: float, is_paused: bool, has_task: bool) -> NodeStatus:
    """Say what a worker is doing: silence outweighs a pause, a pause outweighs work."""
    if state != "ready" or silent_s > offline_s:
        return "Offline"
    if is_paused:
        return "Paused"
    return "Working" if has_task else "Active"


def _node(row: Record, *, offline_s: float) -> WorkerNode:
    task_id = row["current_task_id"]
    return WorkerNode(
        name=row["label"],
        status=node_status(
            state=row["state"],
            silent_s=row["silent_s"],
            offline_s=offline_s,
            is_paused=row["paused"],
            has_task=task_id is not None,
        ),
        tasks_processed_today=row["done_today"],
        current_task_id=None if task_id is None else str(task_id),
        current_task_status=row["current_task_status"],
        last_ping=row["beat_at"],
        restarts=row["restarts"],
        node=row["node"],
        progress=row["current_task_progress"],
    )


async def _analyse_again(request: web.Request, user_id: str, media_id: UUID) -> int:
    async with photo_transaction(request.app[DB], request.app[WAKEUP]) as tx:
        if not await tx.connection.fetchval(SQL.owns, user_id, media_id):
            raise media_not_found()
        return await photos.analyse_again(tx, media_id)


async def _simulate(request: web.Request, action: str) -> int:
    async with photo_transaction(request.app[DB], request.app[WAKEUP]) as tx:
        return (await tx.enqueue([NewTask(lane=ANALYSE_LANE, kind="simulate", payload={"action": action})]))[0]
