"""What Prometheus scrapes. Any process answers for all: everything is read from Postgres."""

import hmac
import ipaddress
from collections.abc import Iterable, Sequence

from aiohttp import hdrs, web
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hyperion import histogram, queue
from hyperion.db import Database, load_queries
from hyperion.media.store import state as store_state
from hyperion.media.transaction import ANALYSE_LANE, ARCHIVE_LANE
from hyperion.web.keys import DB, SETTINGS, STORE
from hyperion.web.sessions import bearer

SQL = load_queries(__package__, "exposition.sql")

LANES = (ARCHIVE_LANE, ANALYSE_LANE)
STATES = ("ready", "scheduled", "leased", "dead")
RESULTS = ("stored", "rejected")
STORE_STATES = ("ready", "throttled", "refused", "away")
SHOWN_FOR_S = 7 * 86400.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FORWARDED = (hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, "X-Real-IP")


async def show_metrics(request: web.Request) -> web.Response:
    """Show all metrics, in the text format of Prometheus, to this machine or to whoever has the token."""
    if not (_is_from_here(request) or _has_token(request)):
        raise web.HTTPNotFound
    settings, store = request.app[SETTINGS], request.app[STORE]
    metrics = await collect(request.app[DB], offline_s=settings.offline_s, store_name=store.name)
    return web.Response(body=generate_latest(_Collected(metrics)), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})


async def collect(db: Database, *, offline_s: float, store_name: str) -> list[Metric]:
    """Read all metrics. Actors silent for `offline_s` seconds have no event loop, connections or sockets."""
    return [
        await _requests(db),
        *await _queue(db),
        *await _tasks(db),
        *await _actors(db, offline_s=offline_s),
        await _uploads(db),
        *await _store(db, store_name),
    ]


class _Collected(Collector):
    """Metrics that were read already, for the library to write as text."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _is_from_here(request: web.Request) -> bool:
    """Tell whether the peer is this machine and speaks for itself: a proxy on it forwards for anybody."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if not peer or any(name in request.headers for name in FORWARDED):
        return False
    address = ipaddress.ip_address(peer[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _has_token(request: web.Request) -> bool:
    token = request.app[SETTINGS].metrics_token
    given = bearer(request) or ""
    return bool(token) and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


async def _requests(db: Database) -> Metric:
    family = HistogramMetricFamily(
        "http_server_request_duration_seconds",
        "Time from a request to the end of its answer, WebSockets left out",
        labels=["http_route", "http_request_method", "http_response_status_code"],
    )
    for row in await db.fetch(SQL.requests):
        buckets = histogram.cumulative(histogram.REQUEST_BOUNDS_S, row["buckets"])
        family.add_metric([row["route"], row["method"], str(row["status"])], buckets, row["duration_s"])
    return family


async def _queue(db: Database) -> Sequence[Metric]:
    tasks = GaugeMetricFamily("hyperion_queue_tasks", "Tasks in each state", labels=["lane", "state"])
    oldest = GaugeMetricFamily(
        "hyperion_queue_oldest_seconds", "Age of the first task in the line, 0 without one", labels=["lane"]
    )
    depths = dict.fromkeys(((lane, state) for lane in LANES for state in STATES), 0) | await queue.depths(db)
    for (lane, state), count in sorted(depths.items()):
        tasks.add_metric([lane, state], count)
    for lane, age_s in sorted((await queue.oldest_s(db, LANES)).items()):
        oldest.add_metric([lane], age_s)
    return tasks, oldest


async def _tasks(db: Database) -> Sequence[Metric]:
    completed = CounterMetricFamily(
        "hyperion_tasks_completed", "Attempts at tasks that ended, by outcome", labels=["actor", "outcome"]
    )
    restarts = CounterMetricFamily(
        "hyperion_actor_restarts", "Processes that an actor was given beyond its node's first", labels=["actor"]
    )
    took = HistogramMetricFamily(
        "hyperion_task_duration_seconds", "Time from claim to end of an attempt", labels=["lane"]
    )
    for row in await db.fetch(SQL.totals, SHOWN_FOR_S):
        restarts.add_metric([row["label"]], row["restarts"])
        if row["lane"]:
            completed.add_metric([row["label"], "done"], row["done"])
            completed.add_metric([row["label"], "failed"], row["failed"])
    for row in await db.fetch(SQL.durations):
        buckets = histogram.cumulative(histogram.TASK_BOUNDS_S, row["buckets"])
        took.add_metric([row["lane"]], buckets, row["duration_s"])
    return completed, restarts, took


async def _actors(db: Database, *, offline_s: float) -> Sequence[Metric]:
    age = GaugeMetricFamily("hyperion_actor_heartbeat_age_seconds", "Time since the last beat", labels=["actor"])
    lag = GaugeMetricFamily(
        "hyperion_event_loop_lag_seconds", "How late the event loop woke up for its last beat", labels=["actor"]
    )
    rows = await db.fetch(SQL.actors, offline_s)
    there = [row for row in rows if row["is_there"]]
    for row in rows:
        age.add_metric([row["label"]], row["age_s"])
    for row in there:
        lag.add_metric([row["label"]], row["loop_lag_s"])
    sockets = GaugeMetricFamily(
        "hyperion_ws_connections", "Open WebSockets", value=sum(row["open_sockets"] for row in there)
    )
    in_use = GaugeMetricFamily(
        "hyperion_db_pool_in_use", "Borrowed database connections", value=sum(row["pool_in_use"] for row in there)
    )
    return age, lag, sockets, in_use


async def _uploads(db: Database) -> Metric:
    family = CounterMetricFamily("hyperion_uploads", "Uploaded files, by what became of them", labels=["result"])
    files = dict.fromkeys(RESULTS, 0) | {row["result"]: row["files"] for row in await db.fetch(SQL.uploads)}
    for result, count in sorted(files.items()):
        family.add_metric([result], count)
    return family


async def _store(db: Database, name: str) -> Sequence[Metric]:
    states = GaugeMetricFamily("hyperion_store_state", "1 for the state that the store is in", labels=["state"])
    store = await store_state.show(db, name)
    for each in STORE_STATES:
        states.add_metric([each], each == store.state)
    resumes = GaugeMetricFamily(
        "hyperion_store_resumes_timestamp_seconds",
        "When the store is tried again, in Unix time; 0 while it is not paused",
        value=store.resumes_at.timestamp() if store.resumes_at else 0,
    )
    return states, resumes
