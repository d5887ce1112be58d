"""File names made safe: one form to show, one for a path in the store."""

import re
import unicodedata
from datetime import date
from uuid import UUID

DISPLAY_NAME_MAX = 255
STORE_NAME_MAX = 100

_EXTENSION_MAX = 16
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_BIDI_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def display_name(name: str) -> str:
    """Return the last component of `name` as text to show: NFC, no control or direction marks.

    At most 255 characters, the extension kept; `photo` when nothing is left. Quotes and any
    script stay: it is text, so whoever writes it into HTML or a header escapes it there.
    """
    visible = "".join(c for c in name if c not in _BIDI_MARKS and unicodedata.category(c) not in _INVISIBLE_CATEGORIES)
    last = re.split(r"[/\\]", visible)[-1].strip()
    # Cut before as well as after: the time to normalise grows with the square of the length.
    last = unicodedata.normalize("NFC", _shortened(last, 4 * DISPLAY_NAME_MAX))
    if not last.strip(" ."):
        return "photo"
    return _shortened(last, DISPLAY_NAME_MAX)


def store_name(name: str) -> str:
    """Return `name` as one safe component of a path: ASCII letters, digits, `.`, `_` and `-`.

    At most 100 characters, the extension kept; never empty, never starting with a dot.
    """
    letters = (c for c in unicodedata.normalize("NFKD", display_name(name)) if not unicodedata.combining(c))
    stem, extension = _split("".join(letters))
    safe_stem, safe_extension = (_UNSAFE.sub("_", part).strip("._-") for part in (stem, extension))
    return _shortened((safe_stem or "photo") + (safe_extension and f".{safe_extension}"), STORE_NAME_MAX)


def store_path(user_id: str, media_id: UUID, filename: str, day: date) -> str:
    """Return where a photo lies in the store: `media/{user_id}/{YYYY-MM-DD}/{media_id}_{filename}`.

    The file name may be anything. Raises ValueError for a user id that is not URL-safe.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", user_id):
        raise ValueError(f"user id {user_id!r} is not URL-safe")
    return f"media/{user_id}/{day.isoformat()}/{media_id}_{store_name(filename)}"


def _split(name: str) -> tuple[str, str]:
    stem, _, extension = name.rpartition(".")
    return (stem, f".{extension}") if stem and 0 < len(extension) < _EXTENSION_MAX else (name, "")


def _shortened(name: str, longest: int) -> str:
    stem, extension = _split(name)
    return name if len(name) <= longest else (stem[: longest - len(extension)] + extension).rstrip()
