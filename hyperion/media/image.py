"""What a file is, by its content and never by its name, and its thumbnail."""

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from hyperion.errors import PhotoUnusable
from hyperion.media.readers import KINDS, Jpeg, opened

_ORIENTATION = 274
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_DECODED_WHOLE_MAX_PIXELS = 16_000_000
_JPEG_SCAN = b"\xff\xda"
_MOST_SCANS = 200
_BLOCK_BYTES = 256 << 10
_JPEG_CHECKED_BYTES = 256 << 10
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Probe:
    """What a file turned out to be. Width and height in pixels as stored, not turned by the orientation."""

    content_type: str
    width: int
    height: int
    extension: str


def probe(path: Path, *, max_pixels: int) -> Probe:
    """Tell type and size of the photo in `path` by its content, and whether it can be decoded.

    The pixel cap is checked from the header, before anything is decoded. Damage is looked for
    cheaply: of a JPEG the first 256 KiB of pixels are decoded, at an eighth of their size, a PNG's
    checksums are compared, other kinds, and progressive JPEGs, are decoded up to 16 megapixels (a
    WebP takes 15 bytes a pixel). A JPEG whose headers are whole may lack the end of its pixels: viewers show the rest
    grey, and position and time are there. So nothing is missed by not decoding its end.

    Raises PhotoUnusable with the code `empty`, `unsupported_type`, `too_many_pixels` or `damaged`,
    and OSError when `path` itself cannot be read.
    """
    with path.open("rb") as file, opened(file) as image:
        width, height = _stored_size(image)
        if width < 1 or height < 1:
            raise PhotoUnusable("damaged", "The photo has no pixels.")
        if width * height > max_pixels:
            found, most = width * height / 1e6, max_pixels / 1e6
            raise PhotoUnusable(
                "too_many_pixels", f"The photo has {found:,.1f} megapixels; at most {most:g} are taken."
            )
        _check_pixels(image)
        kind = KINDS[image.format or ""]
        return Probe(kind.content_type, width, height, kind.extension)


def picture(content: BinaryIO | Path, *, least_side: int = 600) -> Image.Image:
    """Return the photo as a person sees it: upright, in RGB, on white where transparent.

    It is halved as often as its shorter side stays `least_side` pixels or more: a JPEG while it is
    decoded, which saves most of the time. What a JPEG lacks at its end is grey. Other types are
    decoded in full: the pixel cap must have been checked by `probe` before. Raises PhotoUnusable
    as `probe` does, MemoryError where the memory does not suffice.
    """
    with opened(content) as image:
        flat = _flat_rgb(_upright(_halved(image, least_side), image))
        flat.info.clear()
        return flat


def thumbnail(content: BinaryIO | Path | Image.Image, *, longest_side: int = 400) -> bytes:
    """Return a small JPEG of a photo, or of its `picture`, without metadata.

    Neither side exceeds `longest_side` pixels; a smaller photo keeps its size. Raises as `picture` does.
    """
    side = max(1, longest_side)
    small = content.copy() if isinstance(content, Image.Image) else picture(content, least_side=side)
    small.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    small.save(target := io.BytesIO(), "JPEG", quality=82, optimize=True)
    return target.getvalue()


def _stored_size(image: ImageFile) -> tuple[int, int]:
    if isinstance(image, TiffImageFile):
        # Pillow gives the size of a TIFF, of all kinds alone, as it is after turning.
        return int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    return image.size


def _check_pixels(image: ImageFile) -> None:
    if isinstance(image, PngImageFile):
        image.verify()
    elif isinstance(image, Jpeg):
        _check_scans(image)
        if "progressive" in image.info and image.width * image.height > _DECODED_WHOLE_MAX_PIXELS:
            return  # it would be kept whole in memory until its last scan
        assert image.fp is not None
        image.pixel_bytes_left = image.fp.tell() + _JPEG_CHECKED_BYTES  # the decoder begins at the header
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
    elif image.width * image.height <= _DECODED_WHOLE_MAX_PIXELS:
        image.load()


def _check_scans(image: JpegImageFile) -> None:
    """Refuse a JPEG that goes over its pixels hundreds of times: a few kilobytes that take minutes.

    A progressive photo has about ten scans, and so may each smaller picture within it.
    """
    assert image.fp is not None
    at = image.fp.tell()
    image.fp.seek(0)
    scans, last = 0, b""
    # In blocks: the whole of a photo of 20 MB is memory that the allocator then keeps.
    while block := image.fp.read(_BLOCK_BYTES):
        scans += (last + block).count(_JPEG_SCAN)
        last = block[-1:]
    image.fp.seek(at)
    if scans > _MOST_SCANS:
        raise PhotoUnusable("damaged", "The photo is damaged or made to take long.")


def _halved(image: ImageFile, least_side: int) -> Image.Image:
    shorter = min(image.size)
    times = max(1, shorter // max(1, least_side))
    scale = min(8, 1 << (times.bit_length() - 1))
    whole = image.size
    if isinstance(image, JpegImageFile):
        image.draft(None, (image.width // scale, image.height // scale))
        scale //= round(max(whole) / max(image.size))
    source: Image.Image = image
    if image.mode in ("1", "P", "PA"):
        source = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.load()
    return source.reduce(scale) if scale > 1 else source


def _upright(small: Image.Image, original: ImageFile) -> Image.Image:
    # Broad, since nonsense in EXIF must not cost the thumbnail. Read after decoding: Pillow has turned
    # a TIFF by then and taken its tag away.
    with suppress(Exception):
        return small.transpose(_TURNS[original.getexif()[_ORIENTATION]])
    return small


def _flat_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered, flat = image.convert("RGBA"), Image.new("RGB", image.size, "white")
    flat.paste(layered, mask=layered.getchannel("A"))
    return flat


def _eight_bit(image: Image.Image) -> Image.Image:
    values = image.convert("F")
    extreme = values.getextrema()[1]
    high = 65535.0 if image.mode.startswith("I;16") or isinstance(extreme, tuple) else extreme
    full_scale = next((scale for scale in (1.0, 255.0, 65535.0) if high <= scale), high)
    return values.point(lambda value: value * (255.0 / full_scale)).convert("L")
