"""Every route, on one screen."""

from hyperion.web import auth, dashboard, detections, files, map, system, updates, upload, vault  # noqa: A004
from hyperion.web.route import Answer, Route

IMAGE = Answer(media_type="image/*")
SOCKET = Answer(kind=None, media_type="application/json")

ROUTES = (
    Route("GET", "/", system.greet),
    Route("GET", "/livez", system.show_alive),
    Route("GET", "/readyz", system.show_ready, answer=Answer(kind=system.Readiness)),
    Route("GET", "/api/health", system.show_health, answer=Answer(kind=system.Health)),
    Route("POST", "/api/auth/signup", auth.signup, 201),
    Route("POST", "/api/auth/login", auth.login, faults=(401, 429), answer=Answer(kind=auth.LoginAnswer)),
    Route("POST", "/api/auth/logout", auth.logout, answer=Answer(kind=auth.Message)),
    Route("GET", "/api/auth/me", auth.show_me),
    Route("PUT", "/api/auth/me", auth.change_me),
    Route("GET", "/api/dashboard/ai-workers", dashboard.show_fleet),
    Route("POST", "/api/dashboard/ai-workers/dispatch", dashboard.dispatch, faults=(404, 409)),
    Route("GET", "/api/vault", vault.list_photos),
    Route("DELETE", "/api/vault/all", vault.delete_all),  # before {id}, which would take it for one
    Route("DELETE", "/api/vault/{id}", vault.delete_one, faults=(404,)),
    Route("POST", "/api/upload/files", upload.upload_files, 201, faults=(408, 413, 415)),
    Route("GET", "/api/upload/recents", upload.recents),
    Route("GET", "/api/upload/ws/updates", updates.follow, 101, faults=(403, 426, 429), answer=SOCKET),
    Route("GET", "/api/map", map.list_places),
    Route("GET", "/api/map/stats", map.show_stats, answer=Answer(kind=map.StatsAnswer)),
    Route("GET", "/api/map/{id}/logs", map.show_history, faults=(404,)),
    Route("GET", "/api/media/{id}/detections", detections.show_detections, faults=(404,)),
    Route("POST", "/api/media/{id}/detections", detections.correct_detections, faults=(404, 409)),
    Route("GET", "/api/media/{id}/image", files.show_image, faults=(304, 404), answer=IMAGE),
    Route("GET", "/api/media/{id}/thumbnail", files.show_thumbnail, faults=(304, 404), answer=IMAGE),
)
