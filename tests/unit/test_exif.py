"""What is read from EXIF, and what is dropped as nonsense."""

import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import features
from PIL.ExifTags import GPS, Base
from PIL.TiffImagePlugin import IFDRational

from hyperion.media import exif
from tests.photos import make_photo, photo_with_tags

FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])]
SMALL = (16, 16)


def facts_of(
    *,
    tags: dict[int, Any] | None = None,
    camera_tags: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
) -> exif.Facts:
    return exif.read(io.BytesIO(photo_with_tags(size=SMALL, tags=tags, camera_tags=camera_tags, gps=gps)))


def place_of(lat: object, lng: object, lat_ref: str | None = "N", lng_ref: str | None = "E") -> exif.Facts:
    refs = {GPS.GPSLatitudeRef: lat_ref, GPS.GPSLongitudeRef: lng_ref}
    given: dict[int, Any] = {tag: ref for tag, ref in refs.items() if ref is not None}
    return facts_of(gps={**given, GPS.GPSLatitude: lat, GPS.GPSLongitude: lng})


@pytest.mark.parametrize("fmt", FORMATS)
def test_all_facts_are_read_from_every_format(tmp_path: Path, fmt: str) -> None:
    path = tmp_path / "photo"
    make_photo(path, size=SMALL, fmt=fmt, lat=-33.8568, lng=151.2153, altitude=-3.5, orientation=6)

    facts = exif.read(path)

    assert facts.lat == pytest.approx(-33.8568, abs=1e-6)
    assert facts.lng == pytest.approx(151.2153, abs=1e-6)
    assert facts.altitude == pytest.approx(-3.5)
    assert facts.taken_at == datetime(2026, 5, 1, 10, 20, 30)
    assert (facts.camera, facts.orientation, facts.notes) == ("Acme X1", 6, ())


@given(
    lat=st.floats(-90, 90).filter(lambda d: abs(d) > 0.001),
    lng=st.floats(-180, 180).filter(lambda d: abs(d) > 0.001),
)
@settings(max_examples=40, deadline=None)
def test_every_place_on_earth_survives(lat: float, lng: float) -> None:
    facts = exif.read(io.BytesIO(make_photo(size=SMALL, lat=lat, lng=lng)))

    assert (facts.lat, facts.lng) == pytest.approx((lat, lng), abs=1e-6)


@pytest.mark.parametrize(
    ("lat", "lng", "lat_ref", "lng_ref"),
    [
        ((37.0, 53.1, 0.0), (122.0, 37.35, 0.0), "N", "W"),
        ((37.885, 0.0, 0.0), (122.6225, 0.0, 0.0), "N", "W"),
        (37.885, 122.6225, "N", "W"),
        (37.885, -122.6225, None, None),
        (IFDRational(37885, 1000), IFDRational(-1226225, 10000), "N", "W"),
        ((37.0, 53.1), (122.0, 37.35), "n", "west"),
        ("37.885", "-122.6225", None, None),
        ("37,53,6", "122,37,21", "N", "W"),
        ("37/1,531/10,0/1", "122/1 3735/100", "N", "W"),
        ("37 deg 53' 6.00\" N", "W 122 deg 37' 21\"", None, None),
        ("37,00000,53,00000,06,00000", "122,00000,37,00000,21,00000", "N", "W"),
        ("37,53.1N", "122,37.35W", None, None),
        ("37.885", "-122.6225", "N", "E"),
        ("37.885", "-122.6225", "N", "W"),
    ],
)
def test_a_place_is_read_as_cameras_write_it(lat: object, lng: object, lat_ref: str, lng_ref: str) -> None:
    facts = place_of(lat, lng, lat_ref, lng_ref)

    assert (facts.lat, facts.lng) == pytest.approx((37.885, -122.6225), abs=1e-6)
    assert facts.notes == ()


@pytest.mark.parametrize(
    ("lat", "lng"),
    [
        ((95.0, 0.0, 0.0), (10.0, 0.0, 0.0)),
        ((10.0, 0.0, 0.0), (181.0, 0.0, 0.0)),
        ((10.0, 75.0, 0.0), (10.0, 0.0, 0.0)),
        ((IFDRational(0, 0), IFDRational(0, 0), IFDRational(0, 0)), (10.0, 0.0, 0.0)),
        ((10.0, 0.0, IFDRational(5, 0)), (10.0, 0.0, 0.0)),
        ("10/0", "10"),
        ("nan", "10"),
        (float("nan"), 10.0),
        (float("inf"), 10.0),
        ("somewhere", "else"),
        ("1 2 3 4", "10"),
        ("", "10"),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_a_nonsense_place_is_dropped_with_a_note(lat: object, lng: object) -> None:
    facts = place_of(lat, lng)

    assert (facts.lat, facts.lng) == (None, None)
    assert len(facts.notes) == 1


def test_half_a_place_is_none() -> None:
    facts = facts_of(gps={GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (10.0, 0.0, 0.0)})

    assert (facts.lat, facts.lng) == (None, None)
    assert len(facts.notes) == 1


def test_a_nonsense_place_does_not_cost_the_other_facts() -> None:
    facts = facts_of(tags={Base.Model: "X1"}, gps={GPS.GPSLatitude: "?", GPS.GPSAltitude: 12.5})

    assert (facts.camera, facts.altitude) == ("X1", 12.5)


@pytest.mark.parametrize(
    ("reference", "metres", "expected"),
    [
        (None, 12.5, 12.5),
        (b"\x00", 12.5, 12.5),
        (b"\x01", 12.5, -12.5),
        (b"\x03", 12.5, -12.5),
        (b"\x01", 0.0, 0.0),
        (b"\x00", IFDRational(1, 0), None),
        (b"\x00", 4e9, None),
    ],
)
def test_altitude_follows_its_reference(reference: bytes | None, metres: object, expected: float | None) -> None:
    given: dict[int, Any] = {} if reference is None else {GPS.GPSAltitudeRef: reference}

    facts = facts_of(gps={**given, GPS.GPSAltitude: metres})

    assert facts.altitude == expected
    assert bool(facts.notes) == (expected is None)


@pytest.mark.parametrize(
    ("written", "offset", "expected"),
    [
        ("2026:05:01 10:20:30", None, datetime(2026, 5, 1, 10, 20, 30)),
        ("2026:05:01 10:20:30", "+02:00", datetime(2026, 5, 1, 10, 20, 30, tzinfo=timezone(timedelta(hours=2)))),
        ("2026:05:01 10:20:30", "-03:30", datetime(2026, 5, 1, 13, 50, 30, tzinfo=UTC)),
        ("2026:05:01 10:20:30", "Z", datetime(2026, 5, 1, 10, 20, 30, tzinfo=UTC)),
        ("2026:05:01 10:20:30", "+99:99", datetime(2026, 5, 1, 10, 20, 30)),
        ("2026-05-01 10:20:30Z", None, datetime(2026, 5, 1, 10, 20, 30, tzinfo=UTC)),
    ],
)
def test_time_is_aware_when_its_offset_is_known(written: str, offset: str | None, expected: datetime) -> None:
    given: dict[int, Any] = {} if offset is None else {Base.OffsetTimeOriginal: offset}

    facts = facts_of(camera_tags={**given, Base.DateTimeOriginal: written})

    assert facts.taken_at == expected


@pytest.mark.parametrize("written", ["2026:13:01 10:20:30", "0001:01:01 00:00:00", "9999:12:31 23:59:59", "1 May"])
def test_a_nonsense_time_is_dropped_with_a_note(written: str) -> None:
    facts = facts_of(camera_tags={Base.DateTimeOriginal: written})

    assert facts.taken_at is None
    assert len(facts.notes) == 1


@pytest.mark.parametrize("written", ["0000:00:00 00:00:00", "    :  :     :  :  "])
def test_a_clock_that_was_never_set_is_no_time_and_no_nonsense(written: str) -> None:
    facts = facts_of(camera_tags={Base.DateTimeOriginal: written})

    assert (facts.taken_at, facts.notes) == (None, ())


def test_the_next_best_time_is_taken() -> None:
    facts = facts_of(tags={Base.DateTime: "2026:05:02 00:00:00"}, camera_tags={Base.DateTimeOriginal: "?9"})

    assert facts.taken_at == datetime(2026, 5, 2)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D2H", "NIKON D2H"),
        ("Acme", "", "Acme"),
        ("", "X1", "X1"),
        (" Acme \0", "X1\x07\n", "Acme X1"),
        ("", "", None),
    ],
)
def test_a_camera_is_its_make_and_model_without_doubling(make: str, model: str, camera: str | None) -> None:
    assert facts_of(tags={Base.Make: make, Base.Model: model}).camera == camera


@pytest.mark.parametrize("value", [0, 9, 65535, "up"])
def test_a_nonsense_orientation_is_dropped_with_a_note(value: object) -> None:
    facts = facts_of(tags={Base.Orientation: value})

    assert facts.orientation is None
    assert len(facts.notes) == 1


def test_a_photo_without_exif_has_no_facts_and_no_notes() -> None:
    assert facts_of() == exif.Facts()


def test_a_file_that_is_no_photo_has_no_facts_but_a_note() -> None:
    facts = exif.read(io.BytesIO(b"not a photo"))

    assert facts == exif.Facts(notes=("EXIF cannot be read",))


VALUES = (
    st.text(max_size=20)
    | st.binary(max_size=20)
    | st.integers(0, 2**32 - 1)
    | st.floats()
    | st.tuples(st.floats(), st.floats())
    | st.builds(IFDRational, st.integers(0, 2**32 - 1), st.integers(0, 9))
    | st.tuples(*[st.builds(IFDRational, st.integers(0, 300), st.integers(0, 3))] * 3)
)


@given(lat=VALUES, lng=VALUES, altitude=VALUES, reference=VALUES)
@settings(max_examples=100, deadline=None)
def test_odd_values_never_raise_and_never_leave_the_earth(
    lat: object, lng: object, altitude: object, reference: object
) -> None:
    facts = facts_of(
        gps={
            GPS.GPSLatitudeRef: reference,
            GPS.GPSLatitude: lat,
            GPS.GPSLongitude: lng,
            GPS.GPSAltitudeRef: reference,
            GPS.GPSAltitude: altitude,
        }
    )

    assert (facts.lat is None) == (facts.lng is None)
    assert facts.lat is None or (-90 <= facts.lat <= 90 and facts.lng is not None and -180 <= facts.lng <= 180)


@given(at=st.integers(0, 400), damage=st.binary(min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_damaged_exif_never_raises(at: int, damage: bytes) -> None:
    photo = bytearray(make_photo(size=SMALL, lat=1.5, lng=2.5, altitude=3, orientation=3))
    photo[at : at + len(damage)] = damage

    facts = exif.read(io.BytesIO(photo))

    assert facts.orientation in {None, *range(1, 9)}


@given(
    block=st.binary(max_size=400),
    tag=st.sampled_from([Base.Make, Base.Model, Base.DateTimeOriginal]),
    text=st.binary(max_size=300),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_facts_that_can_be_kept(block: bytes, tag: int, text: bytes) -> None:
    exif_block = b"Exif\0\0II*\0\x08\0\0\0" + block
    jpeg = make_photo(size=SMALL, taken=None, camera=None)
    segment = b"\xff\xe1" + (len(exif_block) + 2).to_bytes(2, "big") + exif_block

    for content in (block, jpeg[:2] + segment + jpeg[2:], photo_with_tags(size=SMALL, tags={tag: text})):
        facts = exif.read(io.BytesIO(content))

        kept = msgspec.json.encode(facts)
        assert len(kept) < 4000
        assert b"\\u0000" not in kept
        assert facts.altitude is None or exif.ALTITUDE_MIN_M <= facts.altitude <= exif.ALTITUDE_MAX_M
