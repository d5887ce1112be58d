"""The readers of photos: which one opens a file, by its content, and what their failures mean."""

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pi_heif import HeifImageFile, register_heif_opener  # type: ignore[import-untyped]
from PIL import Image, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hyperion.errors import PhotoUnusable

_HEAD_BYTES = 32
_JPEG_END = b"\xff\xd9"
_MOST_READS_OF_A_HEADER, _MOST_READS = 50_000, 1_000_000


class _Patient:
    """A file whose reader may not ask for it in too many pieces.

    Readers of headers are written in Python. Made of millions of empty segments, or of padding that is read byte
    by byte, 25 MB took them twenty seconds. A JPEG of 25 MB of full segments has four hundred.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads_left = _MOST_READS_OF_A_HEADER

    def header_is_read(self) -> None:
        """Allow for pixels, which come in strips, tiles and chunks."""
        self._reads_left = _MOST_READS

    def read(self, size: int = -1) -> bytes:
        """Read as a file does. Raises PhotoUnusable when it was asked too often."""
        self._reads_left -= 1
        if self._reads_left < 0:
            raise PhotoUnusable("damaged", "The photo is damaged or made to take long.")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Jpeg(JpegImageFile):
    """A JPEG whose pixels may end early, of themselves or after `pixel_bytes_left`.

    The decoder fills up with grey at an end marker, where at the end of the file it would give up.
    """

    pixel_bytes_left: int | None = None

    def load_read(self, read_bytes: int) -> bytes:
        """Return the next bytes for the decoder: at their end once an end marker, then nothing."""
        assert self.fp is not None
        if self.pixel_bytes_left is not None:
            read_bytes = min(read_bytes, self.pixel_bytes_left)
            self.pixel_bytes_left -= read_bytes
        if part := self.fp.read(read_bytes):
            return part
        is_first, self._ended = not hasattr(self, "_ended"), True
        return _JPEG_END if is_first else b""


class Kind(NamedTuple):
    reader: type[ImageFile]
    content_type: str
    extension: str
    magic: bytes

    def begins(self, head: bytes) -> bool:
        return re.match(self.magic, head, re.DOTALL) is not None


# The readers are called themselves. Image.open would judge by Pillow's own pixel cap, which is global
# and warns, and would read a phone's second picture as well, whose faults would spoil the first.
# AVIF comes before HEIF: only its reader turns down what it cannot decode of the brands both share.
KINDS = {
    "JPEG": Kind(Jpeg, "image/jpeg", ".jpg", rb"\xff\xd8\xff"),
    "PNG": Kind(PngImageFile, "image/png", ".png", rb"\x89PNG\r\n\x1a\n"),
    "WEBP": Kind(WebPImageFile, "image/webp", ".webp", rb"RIFF.{4}WEBP"),
    "TIFF": Kind(TiffImageFile, "image/tiff", ".tiff", rb"II[*+]\0|MM\0[*+]"),
    "BMP": Kind(BmpImageFile, "image/bmp", ".bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"),
    "AVIF": Kind(AvifImageFile, "image/avif", ".avif", rb".{4}ftyp(avif|avis|mif1|msf1)"),
    "HEIF": Kind(HeifImageFile, "image/heic", ".heic", rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)"),
}
if not features.check("avif"):
    del KINDS["AVIF"]

register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


@contextmanager
def opened(content: BinaryIO | Path) -> Iterator[ImageFile]:
    """Open a photo by its content; any failure of a decoder inside the block becomes PhotoUnusable.

    Nothing is decoded when the block starts. Raises PhotoUnusable as `probe` does, OSError when a
    path cannot be opened, and MemoryError when this process has not enough of it.
    """
    if isinstance(content, Path):
        with content.open("rb") as file, opened(file) as image:
            yield image
        return
    patient = _Patient(content)
    with _pillow_quiet(), _faults_translated(), _read_header(patient) as image:
        patient.header_is_read()
        yield image


@contextmanager
def _faults_translated() -> Iterator[None]:
    try:
        yield
    except (PhotoUnusable, MemoryError):  # that there is no memory says nothing of the photo
        raise
    except Image.DecompressionBombError as fault:
        raise PhotoUnusable("too_many_pixels", "The photo has too many pixels.") from fault
    except Exception as fault:  # Decoders of hostile bytes raise all there is: struct.error, KeyError …
        raise PhotoUnusable("damaged", "The photo is damaged or incomplete.") from fault


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters = warnings.catch_warnings()


@contextmanager
def _pillow_quiet() -> Iterator[None]:
    """Ignore Pillow's warnings about odd metadata while any thread is inside.

    The filters of `warnings` belong to the process: two threads that each saved and restored them
    would leave one's filter behind, so the first one in sets it and the last one out takes it away.
    """
    global _quiet_depth, _quiet_filters  # noqa: PLW0603
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"(PIL|pi_heif)\b")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_filters.__exit__(None, None, None)


def _read_header(file: Any) -> ImageFile:
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if not head:
        raise PhotoUnusable("empty", "The file is empty.")
    kinds = [kind for kind in KINDS.values() if kind.begins(head)]
    if not kinds:
        raise PhotoUnusable(
            "unsupported_type", "The file is not a photo of a known type: JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF."
        )
    file.seek(0)
    return _first_readable(file, kinds)


def _first_readable(file: Any, kinds: Sequence[Kind]) -> ImageFile:
    for kind in kinds[:-1]:
        with suppress(SyntaxError):
            return kind.reader(file, "")
        file.seek(0)
    return kinds[-1].reader(file, "")
