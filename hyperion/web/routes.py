"""Every route, on one screen."""

from typing import Any

from hyperion.web import (
    auth,
    dashboard,
    detections,
    docs,
    exposition,
    files,
    live,
    map,  # noqa: A004
    system,
    system_health,
    updates,
    upload,
    user_experience,
    vault,
)
from hyperion.web.multipart import FIELD
from hyperion.web.problems import CONTENT_TYPE
from hyperion.web.route import Answer, Route

IMAGE = Answer(media_type="image/*", headers=("ETag",))
THUMBNAIL = Answer(media_type="image/jpeg", headers=("ETag",))
UNCHANGED = {304: Answer(media_type=None, headers=("ETag",))}
SOCKET = Answer(kind=live.MediaStatusUpdate)
NO_FILES = Answer(kind=upload.NothingKept, media_type=CONTENT_TYPE)
HEALTH = Answer(kind=system.Health)
READINESS = Answer(kind=system.Readiness)
FLEET = Answer(kind=dashboard.Fleet)
SIGNED_IN = Answer(kind=auth.LoginAnswer, headers=("Set-Cookie",))
REFRESHED = Answer(kind=auth.Refreshed, headers=("Set-Cookie",))
SIGNED_OUT = Answer(kind=auth.Message, headers=("Set-Cookie",))
DOCUMENT = Answer(kind=dict[str, Any])
PAGE = Answer(media_type="text/html")
TEXT = Answer(media_type="text/plain")
STATS = Answer(kind=map.StatsAnswer)

ROUTES = (
    Route("GET", "/", system.greet, needs_database=False),
    Route("GET", "/livez", system.show_alive, needs_database=False),
    Route("GET", "/readyz", system.show_ready, answer=READINESS, others={503: READINESS}),
    Route("GET", "/api/health", system.show_health, answer=HEALTH, others={503: HEALTH}),
    Route("GET", "/api/openapi.json", docs.show_document, answer=DOCUMENT, needs_database=False),
    Route("GET", "/api/docs", docs.show_page, answer=PAGE, needs_database=False),
    Route("GET", "/metrics", exposition.show_metrics, faults=(404,), answer=TEXT),
    Route("POST", "/api/auth/signup", auth.signup, 201),
    Route("POST", "/api/auth/login", auth.login, faults=(401, 429), answer=SIGNED_IN),
    Route("POST", "/api/auth/logout", auth.logout, answer=SIGNED_OUT),
    Route("POST", "/api/auth/refresh", auth.refresh, answer=REFRESHED),
    Route("POST", "/api/auth/ws-token", auth.issue_ws_token),
    Route("GET", "/api/auth/me", auth.show_me),
    Route("PUT", "/api/auth/me", auth.change_me),
    Route("GET", "/api/dashboard/ai-workers", dashboard.show_fleet, answer=FLEET),
    Route("POST", "/api/dashboard/ai-workers/dispatch", dashboard.dispatch, faults=(404, 409)),
    Route("GET", "/api/dashboard/system-health", system_health.show_system_health),
    Route("GET", "/api/dashboard/user-experience", user_experience.show_user_experience),
    Route("GET", "/api/vault", vault.list_photos),
    Route("DELETE", "/api/vault/all", vault.delete_all),  # before {id}, which would take it for one
    Route("DELETE", "/api/vault/{id}", vault.delete_one, faults=(404,)),
    Route("POST", "/api/upload/files", upload.upload_files, 201, others={413: NO_FILES, 422: NO_FILES}, files=FIELD),
    Route("GET", "/api/upload/recents", upload.recents),
    Route("GET", "/api/upload/ws/updates", updates.follow, 101, (403, 426, 429), SOCKET, admit=updates.admit),
    Route("GET", "/api/map", map.list_places, faults=(400,)),
    Route("GET", "/api/map/stats", map.show_stats, faults=(400,), answer=STATS),
    Route("GET", "/api/map/{id}/logs", map.show_history, faults=(404,)),
    Route("GET", "/api/media/{id}/detections", detections.show_detections, faults=(404,)),
    Route("POST", "/api/media/{id}/detections", detections.correct_detections, faults=(404, 409)),
    Route("GET", "/api/media/{id}/image", files.show_image, faults=(404,), answer=IMAGE, others=UNCHANGED),
    Route("GET", "/api/media/{id}/thumbnail", files.show_thumbnail, faults=(404,), answer=THUMBNAIL, others=UNCHANGED),
)
