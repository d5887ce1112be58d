"""Files that were made to hurt their readers: each is refused at once, or read like any other."""

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image, features

from hyperion.errors import PhotoUnusable
from hyperion.media import exif, image
from tests.photos import make_photo

MAX_PIXELS = 120_000_000
HUGE = 2**31 - 1
AT_ONCE_S = 2  # of CPU, which a busy machine does not make more of


def saved(picture: Image.Image, fmt: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, fmt, **options)
    return target.getvalue()


SMALL = Image.new("RGB", (64, 64), "red")
JPEG = saved(SMALL, "JPEG")
HAS_AVIF = features.check("avif")


def sized(photo: bytes, mark: bytes, at: int, packed: bytes) -> bytes:
    """Return the photo with `packed` written `at` bytes behind the first `mark`."""
    start = photo.index(mark) + at
    return photo[:start] + packed + photo[start + len(packed) :]


def jpeg_of(width: int, height: int, *, progressive: bool = False) -> bytes:
    photo = saved(SMALL, "JPEG", progressive=progressive)
    return sized(photo, b"\xff\xc2" if progressive else b"\xff\xc0", 5, struct.pack(">HH", height, width))


def png_chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, *, more: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + png_chunk(b"IDAT", zlib.compress(bytes(200))) + png_chunk(b"IEND")


def tiff_of(width: int, height: int, *, more: bytes = b"", next_at: int = 0) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 64)]
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags) + more
    return b"II*\0" + struct.pack("<LH", 8, len(entries) // 12) + entries + struct.pack("<L", next_at) + bytes(200)


def bmp_of(width: int, height: int) -> bytes:
    header = struct.pack("<LiiHHLLiiLL", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<LHHL", 1054, 0, 0, 54) + header + bytes(1000)


def webp_of(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    canvas = b"VP8X" + struct.pack("<L", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<L", 4 + len(canvas)) + b"WEBP" + canvas


def boxed_of(fmt: str, width: int, height: int) -> bytes:
    return sized(make_photo(fmt=fmt, size=(64, 64)), b"ispe", 8, struct.pack(">LL", width, height))


SIZES = {"none": (0, 10), "huge": (HUGE, HUGE), "over the cap": (12_000, 12_000)}
CLAIMS = {
    "JPEG": {"none": jpeg_of(0, 10), "huge": jpeg_of(65_500, 65_500), "over the cap": jpeg_of(12_000, 12_000)},
    "PNG": {name: png_of(*size) for name, size in SIZES.items()},
    "TIFF": {name: tiff_of(*size) for name, size in SIZES.items()},
    "BMP": {name: bmp_of(*size) for name, size in SIZES.items()} | {"below nothing": bmp_of(-64, -(2**31))},
    "WEBP": {"huge": webp_of(2**24, 2**24), "over the cap": webp_of(12_000, 12_000)},
    "HEIF": {name: boxed_of("HEIF", *size) for name, size in SIZES.items()},
}
if HAS_AVIF:
    CLAIMS["AVIF"] = {name: boxed_of("AVIF", *size) for name, size in SIZES.items()}


def outcome(path: Path, content: bytes) -> str:
    """Do what is done to an upload, then to a photo; return the code of its refusal, or `read`."""
    path.write_bytes(content)
    try:
        image.probe(path, max_pixels=MAX_PIXELS)
        exif.read(path)
        image.picture(path)
    except PhotoUnusable as refusal:
        return refusal.code
    return "read"


@pytest.mark.parametrize(
    ("fmt", "claim"), [(fmt, claim) for fmt, claims in CLAIMS.items() for claim in claims], ids=lambda part: part
)
def test_a_size_that_cannot_be_is_refused_at_once(tmp_path: Path, fmt: str, claim: str) -> None:
    began_s = time.process_time()

    found = outcome(tmp_path / "photo", CLAIMS[fmt][claim])

    assert found in {"damaged", "too_many_pixels"}
    assert time.process_time() - began_s < AT_ONCE_S


@pytest.mark.parametrize(
    "content",
    [
        JPEG[:2] + b"\xff" * 3_000_000 + JPEG[2:],
        JPEG[:2] + b"\xff\xfe\0\2" * 700_000 + JPEG[2:],
        png_of(8, 8, more=png_chunk(b"aaAa") * 250_000),
    ],
    ids=["padding", "empty comments", "empty chunks"],
)
def test_a_header_in_a_million_pieces_is_refused_at_once(tmp_path: Path, content: bytes) -> None:
    began_s = time.process_time()

    found = outcome(tmp_path / "photo", content)

    assert found == "damaged"
    assert time.process_time() - began_s < AT_ONCE_S


def test_a_jpeg_may_have_much_in_front_of_its_pixels(tmp_path: Path) -> None:
    """Phones put maps of depth there, as XMP."""
    segment = b"\xff\xe1" + struct.pack(">H", 65_000) + bytes(64_998)

    assert outcome(tmp_path / "photo", JPEG[:2] + segment * 60 + JPEG[2:]) == "read"


@pytest.mark.parametrize(
    "content",
    [
        JPEG + b"<html><script>alert(1)</script></html>",
        JPEG + b"PK\3\4" + bytes(100) + b"PK\5\6" + bytes(18),
        tiff_of(8, 8, next_at=8),
        tiff_of(8, 8, more=struct.pack("<HHLL", 33_432, 2, 2**32 - 16, 8)),
        saved(SMALL, "TIFF", save_all=True, append_images=[SMALL] * 20),
        saved(SMALL, "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64), "blue")]),
        saved(SMALL, "PNG", icc_profile=b"nonsense" * 100),
        saved(SMALL.convert("CMYK"), "JPEG", icc_profile=b"\xff" * 5000),
        saved(Image.new("F", (8, 8), float("nan")), "TIFF"),
        saved(Image.new("F", (8, 8), float("-inf")), "TIFF"),
    ],
    ids=[
        "page behind it",
        "archive behind it",
        "tiff that is its own next page",
        "tiff with a tag of 4 GB",
        "tiff of many pages",
        "moving webp",
        "colour profile of nonsense",
        "the same of inks",
        "pixels that are no numbers",
        "pixels without end",
    ],
)
def test_what_is_odd_and_harmless_is_a_photo(tmp_path: Path, content: bytes) -> None:
    assert outcome(tmp_path / "photo", content) == "read"


def in_exif(directory: bytes) -> bytes:
    block = b"Exif\0\0II*\0" + struct.pack("<L", 8) + directory
    return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + JPEG[2:]


@pytest.mark.parametrize(
    "directory",
    [
        struct.pack("<HHHLLHHLLL", 2, 0x8769, 4, 1, 8, 0x8825, 4, 1, 8, 8),
        struct.pack("<HHHLLHHLLL", 2, 0x10F, 2, 2**32 - 1, 8, 0x8825, 4, 1, 2**32 - 256, 0),
        struct.pack("<H", 65_535) + struct.pack("<HHLL", 0x10F, 2, 60_000, 8) * 5000,
        struct.pack("<H", 5000) + b"".join(struct.pack("<HHLL", tag, 5, 7000, 8) for tag in range(5000)),
    ],
    ids=["directories that are each other", "counts of 4 GB", "one tag 5,000 times", "5,000 tags of one place"],
)
def test_tables_of_exif_that_lead_nowhere_cost_neither_time_nor_the_photo(tmp_path: Path, directory: bytes) -> None:
    began_s = time.process_time()

    found = outcome(tmp_path / "photo", in_exif(directory))

    assert found == "read"
    assert time.process_time() - began_s < AT_ONCE_S


@pytest.mark.parametrize(
    "content",
    [jpeg_of(10_900, 10_900, progressive=True), tiff_of(8, 8, more=struct.pack("<HHLL", 40_000, 1, 7 << 20, 200))],
    ids=["progressive jpeg", "tiff"],
)
def test_a_small_file_costs_the_check_of_an_upload_little_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo"
    path.write_bytes(content)
    code = (
        "import sys, pathlib, resource; from hyperion.media import image;"
        "peak_kb = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "before_kb = peak_kb(); image.probe(pathlib.Path(sys.argv[1]), max_pixels=120_000_000);"
        "print(peak_kb() - before_kb)"
    )

    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 50_000


def test_that_there_is_no_memory_is_not_the_photos_fault(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.new("RGB", (3900, 3900)), "TIFF", compression="tiff_adobe_deflate"))
    code = (
        "import sys, pathlib, resource, psutil; from hyperion.media import image;"
        "now = psutil.Process().memory_info().data;"
        "resource.setrlimit(resource.RLIMIT_DATA, (now + (30 << 20), resource.RLIM_INFINITY));"
        "image.probe(pathlib.Path(sys.argv[1]), max_pixels=120_000_000)"
    )

    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)

    assert done.stderr.splitlines()[-1] == "MemoryError"
