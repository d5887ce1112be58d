"""Every route, on one screen."""

from hyperion.web import (
    auth,
    dashboard,
    exposition,
    files,
    map,  # noqa: A004
    system,
    system_health,
    updates,
    upload,
    user_experience,
    vault,
)
from hyperion.web.route import Answer, Route

TEXT = Answer(media_type="text/plain")
IMAGE = Answer(media_type="image/*")
SOCKET = Answer(kind=None, media_type="application/json")

ROUTES = (
    Route("GET", "/", system.greet),
    Route("GET", "/livez", system.show_alive),
    Route("GET", "/readyz", system.show_ready, answer=Answer(kind=system.Readiness)),
    Route("GET", "/api/health", system.show_health, answer=Answer(kind=system.Health)),
    Route("GET", "/metrics", exposition.show_metrics, faults=(404,), answer=TEXT),
    Route("POST", "/api/auth/signup", auth.signup, 201),
    Route("POST", "/api/auth/login", auth.login, faults=(401, 429), answer=Answer(kind=auth.LoginAnswer)),
    Route("POST", "/api/auth/logout", auth.logout, answer=Answer(kind=auth.Message)),
    Route("GET", "/api/auth/me", auth.show_me),
    Route("PUT", "/api/auth/me", auth.change_me),
    Route("GET", "/api/dashboard/ai-workers", dashboard.show_fleet),
    Route("POST", "/api/dashboard/ai-workers/dispatch", dashboard.dispatch, faults=(404, 409)),
    Route("GET", "/api/dashboard/system-health", system_health.show_system_health),
    Route("GET", "/api/dashboard/user-experience", user_experience.show_user_experience),
    Route("GET", "/api/vault", vault.list_photos),
    Route("DELETE", "/api/vault/all", vault.delete_all),  # before {id}, which would take it for one
    Route("DELETE", "/api/vault/{id}", vault.delete_one, faults=(404,)),
    Route("POST", "/api/upload/files", upload.upload_files, 201, faults=(408, 413, 415)),
    Route("GET", "/api/upload/recents", upload.recents),
    Route("GET", "/api/upload/ws/updates", updates.follow, 101, faults=(403, 426, 429), answer=SOCKET),
    Route("GET", "/api/map", map.list_places),
    Route("GET", "/api/map/stats", map.show_stats, answer=Answer(kind=map.StatsAnswer)),
    Route("GET", "/api/map/{id}/logs", map.show_history, faults=(404,)),
    Route("GET", "/api/media/{id}/image", files.show_image, faults=(304, 404), answer=IMAGE),
    Route("GET", "/api/media/{id}/thumbnail", files.show_thumbnail, faults=(304, 404), answer=IMAGE),
)
