"""The web application: its parts put together, and its life from start to end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cache, partial

import msgspec
from aiohttp import web
from aiohttp_session import session_middleware

from hyperion.db import Database
from hyperion.errors import DatabaseUnavailable
from hyperion.media.store import Store
from hyperion.media.transaction import LIVE_CHANNEL
from hyperion.queue import Wakeup
from hyperion.settings import Settings
from hyperion.web import keys, passwords
from hyperion.web.answers import ANSWERS, Answers
from hyperion.web.clock import Clock
from hyperion.web.dashboard import FLEET, read_fleet
from hyperion.web.flusher import Flusher
from hyperion.web.live import LiveFeed
from hyperion.web.middlewares import complete_headers, counting, explain, identify
from hyperion.web.openapi import make_document
from hyperion.web.origins import guard_origin
from hyperion.web.passwords import Passwords
from hyperion.web.places import SocketPlaces
from hyperion.web.presence import Presence
from hyperion.web.reading import JSON_LIMIT_BYTES
from hyperion.web.revocation import REVOKED_CHANNEL, SessionWatch
from hyperion.web.routes import ROUTES
from hyperion.web.session_storage import PostgresStorage
from hyperion.web.sessions import SESSION_USERS, read_session_users
from hyperion.web.spool import Spool
from hyperion.web.stats_cache import make_stats_cache
from hyperion.web.throttle import Throttle
from hyperion.web.together import Lookup, Together
from hyperion.web.tokens import Tokens
from hyperion.web.traffic import Traffic
from hyperion.web.updates import OPEN_SOCKETS, close_sockets

MOST_UPLOADS = 100
MOST_PROBES = 2  # decoding is work for the processor
MOST_KEEPERS = 5  # writing photos into the database; of its connections the others are for everybody else
MOST_BLOB_READS = 20
LEFTOVER_S = 3600.0


@cache
def _document() -> bytes:
    """Return the routes' document, made once a process: it takes 0.01 s."""
    return msgspec.json.encode(make_document(ROUTES))


def make_app(
    settings: Settings,
    db: Database,
    wakeup: Wakeup,
    store: Store,
    *,
    boot: int = 0,
    bcrypt_rounds: int = passwords.ROUNDS,
) -> web.Application:
    """Return the application; the caller runs and closes `db`, `wakeup` and `store`.

    Call it before `wakeup.run` is started, as it asks for bells. `boot` is the web actor's, under which
    other web processes know it; `bcrypt_rounds` is for tests.
    """
    traffic, presence = Traffic(), Presence()
    counted = counting(traffic, sockets={route.path for route in ROUTES if route.status == 101})
    sessions = session_middleware(PostgresStorage(presence))
    app = web.Application(
        middlewares=[counted, identify, explain, guard_origin, sessions], client_max_size=JSON_LIMIT_BYTES
    )
    app[keys.SETTINGS] = settings
    app[keys.DB] = db
    app[keys.WAKEUP] = wakeup
    app[keys.STORE] = store
    app[keys.PASSWORDS] = Passwords(rounds=bcrypt_rounds)
    app[keys.PROBES] = asyncio.Semaphore(MOST_PROBES)
    app[keys.KEEPERS] = asyncio.Semaphore(MOST_KEEPERS)
    app[keys.THROTTLE] = Throttle(db, trusted_hops=settings.trusted_hops)
    app[keys.CLOCK] = clock = Clock()
    app[keys.TOKENS] = Tokens(settings.secret_key, clock)
    app[keys.PLACES] = SocketPlaces(db, boot=boot, silent_s=settings.offline_s)
    app[keys.FEED] = LiveFeed(db, store, wakeup.bell(LIVE_CHANNEL))
    app[keys.SESSION_WATCH] = SessionWatch(db, wakeup.bell(REVOKED_CHANNEL), clock=clock)
    app[keys.UPLOAD_SPOOL] = Spool(settings.var_dir / "spool", limit=MOST_UPLOADS)
    app[keys.IMAGE_SPOOL] = Spool(settings.var_dir / "spool", limit=MOST_BLOB_READS)
    app[keys.STATS_CACHE] = make_stats_cache()
    app[keys.DOCUMENT] = _document()
    app[keys.TRAFFIC] = traffic
    app[keys.PRESENCE] = presence
    app[keys.FLUSHER] = Flusher(db, traffic, presence)
    app[SESSION_USERS] = Lookup(partial(read_session_users, db))
    app[ANSWERS] = Answers()
    app[FLEET] = Together(partial(read_fleet, db, store_name=store.name, offline_s=settings.offline_s))
    app[keys.LIFECYCLE] = keys.Lifecycle()
    app[OPEN_SOCKETS] = set()
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.__call__)
        if route.method == "GET" and route.status != 101:
            app.router.add_route("HEAD", route.path, route.__call__)
    app.on_response_prepare.append(complete_headers)
    app.on_shutdown.append(drain)
    app.cleanup_ctx.append(_background)
    return app


async def drain(app: web.Application) -> None:
    """Say at /readyz that no more requests should come, and close every socket with 1001."""
    app[keys.LIFECYCLE].is_draining = True
    await close_sockets(app)


async def watch(app: web.Application) -> None:
    """Wait, after start-up, for what runs beside the requests; it only ever ends by an error, which is raised."""
    watchers = app[keys.LIFECYCLE].watchers
    assert watchers is not None
    await asyncio.shield(watchers)


async def _background(app: web.Application) -> AsyncIterator[None]:
    """Run what serves open sockets, from start to end."""
    spool = app[keys.UPLOAD_SPOOL]
    await asyncio.to_thread(spool.sweep, older_than_s=LEFTOVER_S + app[keys.SETTINGS].upload_timeout_s)
    with suppress(DatabaseUnavailable):  # the first token shall have the right time already
        await app[keys.CLOCK].run_once(app[keys.DB])
    watchers = asyncio.create_task(_run_watchers(app))
    app[keys.LIFECYCLE].watchers = watchers
    yield
    watchers.cancel()
    # What they failed of is for whoever waits in `watch`.
    await asyncio.gather(watchers, return_exceptions=True)
    await app[keys.FLUSHER].finish()
    app[keys.PASSWORDS].close()


async def _run_watchers(app: web.Application) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app[keys.CLOCK].run(app[keys.DB]))
        tasks.create_task(app[keys.FEED].run())
        tasks.create_task(app[keys.PLACES].run())
        tasks.create_task(app[keys.SESSION_WATCH].run())
        tasks.create_task(app[keys.FLUSHER].run())
