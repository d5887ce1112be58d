"""Photos for tests, made with Pillow: any size, format and EXIF."""

import io
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

Tags = Mapping[int, Any]


def make_photo(
    path: Path | None = None,
    *,
    size: tuple[int, int] = (640, 480),
    fmt: str = "JPEG",
    lat: float | None = None,
    lng: float | None = None,
    altitude: float | None = None,
    taken: str | None = "2026:05:01 10:20:30",
    camera: tuple[str, str] | None = ("Acme", "X1"),
    orientation: int | None = None,
) -> bytes:
    """Return a photo of `size` (width, height in pixels), and write it to `path` if there is one.

    Position in degrees, altitude in metres, below sea level if negative; None leaves a tag out.
    """
    gps: dict[int, Any] = {}
    if lat is not None and lng is not None:
        gps |= {GPS.GPSLatitudeRef: "N" if lat >= 0 else "S", GPS.GPSLatitude: _sexagesimal(lat)}
        gps |= {GPS.GPSLongitudeRef: "E" if lng >= 0 else "W", GPS.GPSLongitude: _sexagesimal(lng)}
    if altitude is not None:
        gps |= {
            GPS.GPSAltitudeRef: bytes([altitude < 0]),
            GPS.GPSAltitude: IFDRational(round(abs(altitude) * 1000), 1000),
        }
    tags: dict[int, Any] = {}
    if camera is not None:
        tags |= {Base.Make: camera[0], Base.Model: camera[1]}
    if orientation is not None:
        tags[Base.Orientation] = orientation
    times: dict[int, Any] = {} if taken is None else {Base.DateTimeOriginal: taken}
    return photo_with_tags(path, size=size, fmt=fmt, tags=tags, camera_tags=times, gps=gps)


def photo_with_tags(
    path: Path | None = None,
    *,
    size: tuple[int, int] = (640, 480),
    fmt: str = "JPEG",
    tags: Tags | None = None,
    camera_tags: Tags | None = None,
    gps: Tags | None = None,
) -> bytes:
    """Return a photo with exactly these EXIF tags, however odd, and write it to `path` if there is one."""
    target = io.BytesIO()
    exif = _exif_bytes(tags or {}, camera_tags or {}, gps or {})
    if fmt == "HEIF":
        # Only the reader is part of what Hyperion needs; the writer comes with the tests.
        pillow_heif.from_pillow(_scene(size)).save(target, exif=exif)
    else:
        _scene(size).save(target, fmt, exif=exif)
    if path is not None:
        path.write_bytes(target.getvalue())
    return target.getvalue()


def _scene(size: tuple[int, int]) -> Image.Image:
    """Return a picture that is not flat, so that it has a decodable middle and end."""
    tile = Image.linear_gradient("L")
    return Image.merge("RGB", (tile, tile.rotate(90), tile.rotate(180))).resize(size)


def _sexagesimal(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    minutes, whole = math.modf(abs(degrees))
    seconds, minutes = math.modf(minutes * 60)
    return IFDRational(int(whole)), IFDRational(int(minutes)), IFDRational(round(seconds * 60 * 10_000), 10_000)


def _exif_bytes(tags: Tags, camera_tags: Tags, gps: Tags) -> bytes:
    """Return a little-endian EXIF block. Pillow's own writer insists on each tag's proper type.

    Text is written as ASCII (in UTF-8), bytes as UNDEFINED, whole numbers as LONG, floats as
    DOUBLE, IFDRational as RATIONAL, or SRATIONAL if negative; tuples as several of them.
    """
    links = {IFD.Exif: camera_tags, IFD.GPSInfo: gps}
    offsets: dict[int, Any] = {}
    offset = 8 + len(_directory({**tags, **{ifd: 0 for ifd, nested in links.items() if nested}}, 0))
    blocks = b""
    for ifd, nested in links.items():
        if nested:
            offsets[ifd] = offset + len(blocks)
            blocks += _directory(nested, offsets[ifd])
    return b"Exif\0\0II*\0" + struct.pack("<L", 8) + _directory({**tags, **offsets}, 8) + blocks


def _directory(tags: Tags, offset: int) -> bytes:
    entries, outside = b"", b""
    outside_at = offset + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        kind, count, packed = _packed(value)
        entries += struct.pack("<HHL", tag, kind, count)
        if len(packed) <= 4:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack("<L", outside_at + len(outside))
            outside += packed
    return struct.pack("<H", len(tags)) + entries + bytes(4) + outside


def _packed(value: Any) -> tuple[int, int, bytes]:
    """Return type, count and bytes of a tag's value as TIFF 6.0 (section 2) numbers them."""
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return 2, len(text), text
    if isinstance(value, bytes):
        return 7, len(value), value
    values = value if isinstance(value, tuple) else (value,)
    if all(isinstance(part, int) for part in values):
        return 4, len(values), struct.pack(f"<{len(values)}L", *values)
    if all(isinstance(part, IFDRational) for part in values):
        pairs = [whole for part in values for whole in (part.numerator, part.denominator)]
        is_signed = min(pairs) < 0
        return (10 if is_signed else 5), len(values), struct.pack(f"<{len(pairs)}{'l' if is_signed else 'L'}", *pairs)
    return 12, len(values), struct.pack(f"<{len(values)}d", *values)


def scan_bomb(*, side: int = 4000, scans: int = 4000) -> bytes:
    """Return a progressive JPEG that goes over its pixels again and again: small to send, long to decode."""
    target = io.BytesIO()
    Image.new("RGB", (side, side), "grey").save(target, "JPEG", progressive=True)
    whole = target.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * scans + b"\xff\xd9"
