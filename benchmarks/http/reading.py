"""Reading: the profile beside a bare handler, the lists by sixteen clients, the statistics of a million points."""

import http.client
import statistics
import time
from urllib.parse import urlencode

from benchmarks.calm import Calm
from benchmarks.http.load import Served, load
from benchmarks.http.report import Results
from benchmarks.http.stage import Stage
from tests import crowd

CLIENTS = 16
READER = "reader"
SURVEYOR = "surveyor"
COLD_ASKED = 5
CACHED_ASKED = 100
WARM_UP_S = 1


def prepare(stage: Stage, *, photos: int, points: int) -> None:
    """Fill the database: a reader, a surveyor, a fleet."""
    with stage.connect() as connection:
        crowd.add_reader(connection, READER, photos=photos)
        crowd.add_surveyor(connection, SURVEYOR, per_cell=points // 10_000)
        crowd.add_fleet(connection, waiting=1000)
    stage.settle_down()


def scenarios(photos: int) -> dict[str, list[str]]:
    """Return the paths of each list, by name.

    `map_500`: sixteen windows, asked for again and again. `map_500_moving`: so many, two hundred, that no
    answer is still kept when it is asked for again.
    """
    windows = [crowd.window(number) for number in range(photos // 500)]
    return {
        "vault_first": ["/api/vault"],
        "vault_500th": [f"/api/vault?page={min(500, photos // 20)}"],
        "recents": ["/api/upload/recents"],
        "ai_workers": ["/api/dashboard/ai-workers"],
        "map_500": [f"/api/map?{window.query}" for window in windows[:CLIENTS]],
        "map_500_moving": [f"/api/map?{window.query}" for window in windows],
    }


def measure_profile(stage: Stage, results: Results, *, seconds: float) -> None:
    """Ask both servers who one is, one after the other."""
    token = stage.token(READER)
    for _ in (calm := Calm[tuple[Served, Served]]()):
        bare = load(stage.bare_port, ["/api/auth/me"], token, clients=CLIENTS, seconds=seconds)
        ours = load(stage.port, ["/api/auth/me"], token, clients=CLIENTS, seconds=seconds)
        calm.take((bare, ours))
    bare, ours = calm.best
    for system, served in (("bare", bare), ("hyperion", ours)):
        results.add(system, "me_rate", served.per_second, "requests/s")
        results.add(system, "me_p99", served.p99_ms, "ms")
    results.add("hyperion", "me_share_of_bare", ours.per_second / bare.per_second, "")
    results.add_stolen(calm.stolen)


def measure_lists(stage: Stage, results: Results, *, photos: int, seconds: float) -> None:
    """Have sixteen clients ask for one list after the other, and before each ask the bare handler for a moment.

    Each list is asked for a second before it is measured: what is made once and kept is made then.
    """
    token = stage.token(READER)
    for name, paths in scenarios(photos).items():
        load(stage.port, paths, token, clients=CLIENTS, seconds=WARM_UP_S)
        for _ in (calm := Calm[tuple[Served, Served]]()):
            bare = load(stage.bare_port, ["/api/auth/me"], token, clients=CLIENTS, seconds=seconds / 2)
            calm.take((bare, load(stage.port, paths, token, clients=CLIENTS, seconds=seconds)))
        bare, served = calm.best
        results.add("hyperion", f"{name}_rate", served.per_second, "requests/s")
        results.add("hyperion", f"{name}_p99", served.p99_ms, "ms")
        results.add("hyperion", f"{name}_p99_over_bare", served.p99_ms / bare.p99_ms, "")
        results.add_stolen(calm.stolen)


def measure_stats(stage: Stage, results: Results) -> None:
    """Ask one client's questions: each time another part of a million points, then one again and again."""
    client = http.client.HTTPConnection("127.0.0.1", stage.port)
    headers = {"Cookie": f"access_token={stage.token(SURVEYOR)}"}
    for _ in (calm := Calm[tuple[list[float], list[float]]]()):
        cold_ms = [_ask_ms(client, bounds := _new_bounds(), headers) for _ in range(COLD_ASKED)]
        cached_ms = [_ask_ms(client, bounds, headers) for _ in range(CACHED_ASKED)]
        calm.take((cold_ms, cached_ms))
    cold_ms, cached_ms = calm.best
    results.add("hyperion", "stats_1e6_cold", statistics.median(cold_ms), "ms")
    results.add("hyperion", "stats_1e6_cold_max", max(cold_ms), "ms")
    results.add("hyperion", "stats_1e6_cached", statistics.median(cached_ms), "ms")
    results.add_stolen(calm.stolen)


def _new_bounds() -> dict[str, float]:
    """Return bounds just within the surveyed area: cells are cut on all sides, and nobody asked the same before."""
    area = crowd.SURVEYED
    inside = 0.001 + time.time() % 1 * 1e-4
    return {
        "min_lat": area.min_lat + inside,
        "max_lat": area.max_lat - inside,
        "min_lng": area.min_lng + inside,
        "max_lng": area.max_lng - inside,
    }


def _ask_ms(client: http.client.HTTPConnection, bounds: dict[str, float], headers: dict[str, str]) -> float:
    began_s = time.perf_counter()
    client.request("GET", f"/api/map/stats?{urlencode(bounds)}", headers=headers)
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200 or len(body) < 1000:
        raise RuntimeError(body.decode())
    return (time.perf_counter() - began_s) * 1000
