"""What a photo says about itself in EXIF: where, when and with what it was taken."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from numbers import Real
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from hyperion.errors import PhotoUnusable
from hyperion.media.readers import opened

# The deepest trench, and the edge of space: nobody takes photos of litter outside.
ALTITUDE_MIN_M, ALTITUDE_MAX_M = -11_000.0, 100_000.0
YEAR_MIN, YEAR_MAX = 1900, 2199

_CAMERA_MAX = 120
_OFFSET_MAX_MIN = 14 * 60
_TEXT_MAX = 200
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:/[-+]?\d+(?:\.\d+)?)?")
_TIME = re.compile(
    r"(\d{4})[:/.-](\d{1,2})[:/.-](\d{1,2})[ T]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.\d*)?)?\s*(Z|[-+]\d{2}:?\d{2})?"
)
_OFFSET = re.compile(r"([-+])(\d{2}):?(\d{2})")
_TIME_TAGS = (
    (Base.DateTimeOriginal, Base.OffsetTimeOriginal),
    (Base.DateTimeDigitized, Base.OffsetTimeDigitized),
    (Base.DateTime, Base.OffsetTime),
)

_BELOW_SEA_LEVEL = (1, 3)

Tags = Mapping[int, Any]


_DIGITS = 7  # a centimetre; the rest is what a division left over


@dataclass(frozen=True)
class Facts:
    """What EXIF tells. Degrees north and east, metres above sea level, orientation 1..8.

    `lat` and `lng` are both given or both None. `taken_at` is aware when the camera wrote its
    offset, else naive: the camera's local time. `notes` says what was dropped as nonsense.
    """

    lat: float | None = None
    lng: float | None = None
    altitude: float | None = None
    taken_at: datetime | None = None
    camera: str | None = None
    orientation: int | None = None
    notes: tuple[str, ...] = ()


def read(content: Path | BinaryIO) -> Facts:
    """Read the facts of a photo. Never raises for what the bytes say, only OSError for a path.

    Positions are taken as cameras write them: degrees, minutes and seconds or degrees alone, as
    rationals, floats or text, with or without a reference; a minus means south or west. What is
    out of range, has a zero denominator or is no number is dropped with a note, and so is a
    position of exactly (0, 0), which devices without a fix write.
    """
    notes: list[str] = []
    try:
        with opened(content) as photo:
            exif = photo.getexif()
            tags = dict(exif)
            camera_tags = _nested(exif, IFD.Exif, notes)
            gps = _nested(exif, IFD.GPSInfo, notes)
    except PhotoUnusable:
        return Facts(notes=("EXIF cannot be read",))
    lat, lng = _position(gps, notes)
    return Facts(
        lat=lat,
        lng=lng,
        altitude=_altitude(gps, notes),
        taken_at=_taken_at({**tags, **camera_tags}, notes),
        camera=_camera(tags),
        orientation=_orientation(tags.get(Base.Orientation), notes),
        notes=tuple(notes),
    )


def _nested(exif: Image.Exif, which: IFD, notes: list[str]) -> Tags:
    try:
        return dict(exif.get_ifd(which))
    except Exception:  # noqa: BLE001  a broken directory may raise anything and must not cost the other one
        notes.append(f"{which.name} cannot be read")
        return {}


def _position(gps: Tags, notes: list[str]) -> tuple[float, float] | tuple[None, None]:
    if GPS.GPSLatitude not in gps and GPS.GPSLongitude not in gps:
        return None, None
    lat = _degrees(gps.get(GPS.GPSLatitude), _letter(gps.get(GPS.GPSLatitudeRef)), "NS")
    lng = _degrees(gps.get(GPS.GPSLongitude), _letter(gps.get(GPS.GPSLongitudeRef)), "EW")
    if lat is None or lng is None:
        notes.append("position is missing a coordinate or has one that is no number of degrees")
    elif abs(lat) > 90 or abs(lng) > 180:
        notes.append("position is out of range")
    elif lat == 0 and lng == 0:
        notes.append("position is (0, 0), which stands for none")
    else:
        return round(lat, _DIGITS), round(lng, _DIGITS)
    return None, None


def _degrees(value: object, reference: str, letters: str) -> float | None:
    """Return signed degrees. `letters`: the one for positive values first, then the one for negative."""
    parts = _numbers(value)
    if not 1 <= len(parts) <= 3 or not all(math.isfinite(part) for part in parts):
        return None
    degrees, minutes, seconds = (*parts, 0.0, 0.0)[:3]
    if not (0 <= minutes <= 60 and 0 <= seconds <= 60):
        return None
    size = abs(degrees) + minutes / 60 + seconds / 3600
    named = reference if reference and reference in letters else _letter_in(value, letters)
    is_negative = math.copysign(1, degrees) < 0 or named == letters[1]
    return -size if is_negative else size


def _letter(value: object) -> str:
    return _text(value)[:1].upper()


def _letter_in(value: object, letters: str) -> str:
    text = _text(value).upper() if isinstance(value, str | bytes) else ""
    return next((letter for letter in letters if text.startswith(letter) or text.endswith(letter)), "")


def _numbers(value: object) -> list[float]:
    """Return the numbers in a tag's value, NaN for those that are none."""
    if isinstance(value, str | bytes):
        return _numbers_in_text(_text(value))
    return [_number(part) for part in value] if isinstance(value, tuple | list) else [_number(value)]


def _numbers_in_text(text: str) -> list[float]:
    fields = text.split(",")
    if len(fields) == 6 and all(field.strip().isdecimal() for field in fields):
        # Three numbers by a device whose language writes a decimal comma: 52,00000,50,00000,34,01180
        return [float(f"{int(whole)}.{part.strip()}") for whole, part in zip(fields[::2], fields[1::2], strict=True)]
    return [_number(found) for found in _NUMBER.findall(text)]


def _number(value: object) -> float:
    if isinstance(value, str | bytes):
        above, slash, below = _text(value).partition("/")
        return _quotient(above, below if slash else "1")
    if isinstance(value, Real):
        with suppress(ArithmeticError, ValueError):
            return float(value)
    return math.nan


def _quotient(above: str, below: str) -> float:
    with suppress(ArithmeticError, ValueError):
        return float(above) / float(below)
    return math.nan


def _text(value: object) -> str:
    raw = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(raw, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in raw[:_TEXT_MAX]).split())


def _altitude(gps: Tags, notes: list[str]) -> float | None:
    if GPS.GPSAltitude not in gps:
        return None
    metres = next(iter(_numbers(gps[GPS.GPSAltitude])), math.nan)
    if _reference_number(gps.get(GPS.GPSAltitudeRef)) in _BELOW_SEA_LEVEL:
        metres = -abs(metres)
    if not ALTITUDE_MIN_M <= metres <= ALTITUDE_MAX_M:
        notes.append("altitude is out of range or no number")
        return None
    return metres


def _reference_number(value: object) -> float:
    if isinstance(value, bytes) and len(value) == 1 and value[0] < 4:
        return float(value[0])
    return next(iter(_numbers(value)), 0.0)


def _taken_at(tags: Tags, notes: list[str]) -> datetime | None:
    for time_tag, offset_tag in _TIME_TAGS:
        written = _text(tags.get(time_tag))
        if not any(c in "123456789" for c in written):
            continue
        taken_at = _instant(written, _text(tags.get(offset_tag)) or _text(tags.get(Base.OffsetTime)))
        if taken_at is not None:
            return taken_at
        notes.append(f"{time_tag.name} is no time")
    return None


def _instant(written: str, offset: str) -> datetime | None:
    found = _TIME.fullmatch(written)
    if found is None or not YEAR_MIN <= int(found[1]) <= YEAR_MAX:
        return None
    zone = _zone(found[7] or offset)
    with suppress(ValueError):
        return datetime(*(int(part or 0) for part in found.groups()[:6]), tzinfo=zone)  # type: ignore[misc, arg-type]
    return None


def _zone(offset: str) -> timezone | None:
    if offset == "Z":
        return UTC
    found = _OFFSET.fullmatch(offset)
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    if minutes > _OFFSET_MAX_MIN or int(found[3]) > 59:
        return None
    return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))


def _camera(tags: Tags) -> str | None:
    make, model = _text(tags.get(Base.Make)), _text(tags.get(Base.Model))
    if model and make and model.split()[0].casefold() == make.split()[0].casefold():
        make = ""
    return f"{make} {model}".strip()[:_CAMERA_MAX] or None


def _orientation(value: object, notes: list[str]) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and 1 <= value <= 8:
        return value
    notes.append("orientation is not one of 1 to 8")
    return None
