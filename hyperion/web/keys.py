"""What the application carries along, by key."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from hyperion.db import Database
from hyperion.media.store import Store
from hyperion.queue import Wakeup
from hyperion.settings import Settings
from hyperion.web.clock import Clock
from hyperion.web.flusher import Flusher
from hyperion.web.live import LiveFeed
from hyperion.web.passwords import Passwords
from hyperion.web.places import SocketPlaces
from hyperion.web.presence import Presence
from hyperion.web.revocation import SessionWatch
from hyperion.web.spool import Spool
from hyperion.web.stats_cache import StatsCache
from hyperion.web.throttle import Throttle
from hyperion.web.tokens import Tokens
from hyperion.web.traffic import Traffic


@dataclass
class Lifecycle:
    """Where this process is in its life, and what it need not ask the database twice."""

    is_draining: bool = False
    is_schema_current: bool = False
    watchers: "asyncio.Task[None] | None" = None


SETTINGS = web.AppKey("settings", Settings)
DB = web.AppKey("db", Database)
WAKEUP = web.AppKey("wakeup", Wakeup)
STORE: web.AppKey[Store] = web.AppKey("store", Store)
PASSWORDS = web.AppKey("passwords", Passwords)
CLOCK = web.AppKey("clock", Clock)
TOKENS = web.AppKey("tokens", Tokens)
PLACES = web.AppKey("places", SocketPlaces)
FEED = web.AppKey("feed", LiveFeed)
PROBES = web.AppKey("probes", asyncio.Semaphore)
KEEPERS = web.AppKey("keepers", asyncio.Semaphore)
THROTTLE = web.AppKey("throttle", Throttle)
SESSION_WATCH = web.AppKey("session_watch", SessionWatch)
UPLOAD_SPOOL = web.AppKey("upload_spool", Spool)
IMAGE_SPOOL = web.AppKey("image_spool", Spool)
STATS_CACHE = web.AppKey("stats_cache", StatsCache)
DOCUMENT = web.AppKey("document", bytes)  # the OpenAPI document, encoded
LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
TRAFFIC = web.AppKey("traffic", Traffic)
PRESENCE = web.AppKey("presence", Presence)
FLUSHER = web.AppKey("flusher", Flusher)
