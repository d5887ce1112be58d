"""What a file is told to be, and the thumbnail and picture that are made of it."""

import io
import random
import struct
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from hyperion.errors import PhotoUnusable
from hyperion.media import image
from tests.photos import make_photo, scan_bomb

MAX_PIXELS = 120_000_000
KINDS = {
    "JPEG": ("image/jpeg", ".jpg"),
    "PNG": ("image/png", ".png"),
    "WEBP": ("image/webp", ".webp"),
    "TIFF": ("image/tiff", ".tiff"),
    "BMP": ("image/bmp", ".bmp"),
    "AVIF": ("image/avif", ".avif"),
    "HEIF": ("image/heic", ".heic"),
}
AVAILABLE = [fmt for fmt in KINDS if fmt != "AVIF" or features.check("avif")]
WITH_EXIF = [fmt for fmt in AVAILABLE if fmt != "BMP"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upload.jpg"


def refused_as(path: Path, content: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    path.write_bytes(content)
    with pytest.raises(PhotoUnusable) as caught:
        image.probe(path, max_pixels=max_pixels)
    return caught.value.code


def saved(picture: Image.Image, fmt: str) -> bytes:
    target = io.BytesIO()
    picture.save(target, fmt)
    return target.getvalue()


def png_of_claimed_size(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packed = zlib.compress(bytes((width // 8 + 1) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("fmt", AVAILABLE)
def test_a_photo_is_told_by_its_content(path: Path, fmt: str) -> None:
    make_photo(path, fmt=fmt, size=(64, 48))

    found = image.probe(path, max_pixels=MAX_PIXELS)

    assert found == image.Probe(KINDS[fmt][0], 64, 48, KINDS[fmt][1])


@pytest.mark.parametrize("fmt", [fmt for fmt in AVAILABLE if fmt != "HEIF"])  # whose decoder turns it first
def test_width_and_height_are_as_stored_not_turned(path: Path, fmt: str) -> None:
    make_photo(path, fmt=fmt, size=(64, 48), orientation=6)

    found = image.probe(path, max_pixels=MAX_PIXELS)

    assert (found.width, found.height) == (64, 48)


def test_a_multi_picture_photo_of_a_phone_is_a_jpeg(path: Path) -> None:
    pictures = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    pictures[0].save(path, "MPO", save_all=True, append_images=pictures[1:])

    assert image.probe(path, max_pixels=MAX_PIXELS).content_type == "image/jpeg"


def test_an_empty_file_is_refused(path: Path) -> None:
    assert refused_as(path, b"") == "empty"


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><script>alert(1)</script>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(60),
        b"BMW is what this text begins with, it is no bitmap",
        b"\0\0\0\x18ftypmp42" + bytes(40),
        saved(Image.new("RGB", (8, 8)), "GIF"),
        b"\xff",
    ],
    ids=["html", "svg", "zip", "text", "video", "gif", "one byte"],
)
def test_what_is_no_photo_is_refused_whatever_its_name(path: Path, content: bytes) -> None:
    assert refused_as(path, content) == "unsupported_type"


@pytest.mark.parametrize(
    ("fmt", "share"), [("JPEG", 0.02), *((f, s) for f in AVAILABLE if f != "JPEG" for s in (0.05, 0.5, 0.9))]
)
def test_a_photo_that_was_cut_short_is_damaged(path: Path, fmt: str, share: float) -> None:
    whole = make_photo(fmt=fmt)

    assert refused_as(path, whole[: int(len(whole) * share)]) == "damaged"


def test_a_heic_that_cannot_be_read_is_damaged(path: Path) -> None:
    assert refused_as(path, b"\0\0\0\x18ftypheic" + bytes(100)) == "damaged"


def test_a_jpeg_that_lacks_the_end_of_its_pixels_is_taken(path: Path) -> None:
    whole = make_photo(size=(64, 48))
    headers_only = whole[: whole.index(b"\xff\xda") + 14]
    path.write_bytes(headers_only)

    found = image.probe(path, max_pixels=MAX_PIXELS)

    assert (found.width, found.height) == (64, 48)
    assert image.thumbnail(path)


def test_the_cap_on_pixels_is_inclusive(path: Path) -> None:
    content = make_photo(path, size=(40, 30))

    assert image.probe(path, max_pixels=1200).width == 40
    assert refused_as(path, content, max_pixels=1199) == "too_many_pixels"


def test_a_decompression_bomb_is_refused_at_once_with_flat_memory(path: Path) -> None:
    path.write_bytes(png_of_claimed_size(20_000, 20_000))
    assert path.stat().st_size < 60_000
    tracemalloc.start()
    started = time.process_time()

    with pytest.raises(PhotoUnusable) as caught:
        image.probe(path, max_pixels=MAX_PIXELS)

    took_s = time.process_time() - started
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == "too_many_pixels"
    assert took_s < 0.5  # to unpack it takes more than a second
    assert peak_bytes < 1 << 20


def test_pillows_own_cap_neither_warns_nor_raises(path: Path) -> None:
    path.write_bytes(png_of_claimed_size(20_000, 20_000))

    assert image.probe(path, max_pixels=400_000_000).width == 20_000


def test_warnings_are_as_before_after_photos_were_read_in_many_threads(path: Path) -> None:
    make_photo(path)
    before = list(warnings.filters)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: image.probe(path, max_pixels=MAX_PIXELS), range(40)))

    assert list(warnings.filters) == before


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from([make_photo(fmt=fmt, size=(16, 16))[:n] for fmt in AVAILABLE for n in (4, 16, 60, 200)]),
    tail=st.binary(max_size=300),
)
def test_random_bytes_are_refused_and_never_crash(path: Path, head: bytes, tail: bytes) -> None:
    path.write_bytes(head + tail)

    try:
        image.probe(path, max_pixels=10_000)
    except PhotoUnusable as refusal:
        assert refusal.code in {"unsupported_type", "too_many_pixels", "damaged"}


@pytest.mark.parametrize("fmt", AVAILABLE)
def test_a_thumbnail_is_a_small_jpeg_without_metadata(fmt: str) -> None:
    photo = make_photo(fmt=fmt, size=(900, 600), lat=52.5, lng=13.4)

    small = Image.open(io.BytesIO(image.thumbnail(io.BytesIO(photo))))

    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (400, 267))
    assert not small.getexif()
    assert small.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_a_comment_does_not_reach_the_thumbnail() -> None:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, "JPEG", comment=b"52.5 north")

    assert b"52.5 north" not in image.thumbnail(target)


@pytest.mark.parametrize("fmt", WITH_EXIF)
@pytest.mark.parametrize("orientation", [1, 5, 6, 8])
def test_a_thumbnail_is_upright(fmt: str, orientation: int) -> None:
    photo = make_photo(fmt=fmt, size=(600, 300), orientation=orientation)

    small = Image.open(io.BytesIO(image.thumbnail(io.BytesIO(photo))))

    assert small.size == ((400, 200) if orientation == 1 else (200, 400))


def test_a_thumbnail_does_not_enlarge(path: Path) -> None:
    make_photo(path, size=(30, 20))

    assert Image.open(io.BytesIO(image.thumbnail(path))).size == (30, 20)


def test_what_is_transparent_becomes_white() -> None:
    clear = saved(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG")

    small = Image.open(io.BytesIO(image.thumbnail(io.BytesIO(clear))))

    assert small.getpixel((10, 10)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16", "I", "F", "CMYK", "LAB", "YCbCr"])
def test_a_thumbnail_is_made_of_every_kind_of_pixel(mode: str) -> None:
    photo = saved(Image.new(mode, (500, 20)), "TIFF")

    small = Image.open(io.BytesIO(image.thumbnail(io.BytesIO(photo))))

    assert (small.mode, small.size) == ("RGB", (400, 16))


def test_sixteen_bits_become_eight_in_proportion() -> None:
    photo = saved(Image.new("I;16", (20, 20), 0x8000), "PNG")

    small = Image.open(io.BytesIO(image.thumbnail(io.BytesIO(photo))))

    assert small.getpixel((10, 10)) == pytest.approx((128, 128, 128), abs=2)


def test_a_thumbnail_of_no_photo_is_refused() -> None:
    with pytest.raises(PhotoUnusable):
        image.thumbnail(io.BytesIO(b"not a photo"))


@pytest.mark.parametrize("fmt", AVAILABLE)
def test_a_picture_is_as_large_as_what_looks_at_it_needs(fmt: str) -> None:
    photo = make_photo(fmt=fmt, size=(640, 480))

    picture = image.picture(io.BytesIO(photo), least_side=120)

    assert (picture.mode, picture.size) == ("RGB", (160, 120))


def test_a_picture_is_never_larger_than_its_photo() -> None:
    photo = make_photo(size=(30, 20))

    assert image.picture(io.BytesIO(photo), least_side=600).size == (30, 20)


@pytest.mark.parametrize("fmt", WITH_EXIF)
def test_a_picture_is_upright(fmt: str) -> None:
    photo = make_photo(fmt=fmt, size=(80, 40), orientation=6)

    assert image.picture(io.BytesIO(photo)).size == (40, 80)


def test_a_photo_that_takes_minutes_to_decode_is_refused_at_once(path: Path) -> None:
    bomb = scan_bomb(side=64, scans=5000)
    began_s = time.process_time()

    code = refused_as(path, bomb)

    assert (code, time.process_time() - began_s < 2) == ("damaged", True)


def test_scans_are_counted_wherever_the_file_is_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_BLOCK_BYTES", 1)

    assert refused_as(path, scan_bomb(side=64, scans=250)) == "damaged"


def test_a_large_photo_is_looked_through_in_little_memory(path: Path) -> None:
    path.write_bytes(make_photo() + bytes(20 << 20))

    tracemalloc.start()
    image.probe(path, max_pixels=MAX_PIXELS)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < 4 << 20


@pytest.mark.parametrize("fmt", AVAILABLE)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_damage_anywhere_gives_a_picture_or_a_refusal(path: Path, fmt: str, chance: random.Random) -> None:
    damaged = bytearray(make_photo(fmt=fmt, size=(64, 48), lat=1, lng=2))
    for _ in range(chance.randint(1, 20)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    del damaged[chance.randint(len(damaged) // 2, len(damaged)) :]
    path.write_bytes(damaged)

    try:
        image.probe(path, max_pixels=1_000_000)  # or a damaged header costs gigabytes
        picture = image.picture(path)
    except PhotoUnusable:
        return
    assert picture.mode == "RGB"
