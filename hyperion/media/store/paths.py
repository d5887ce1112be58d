"""Which paths a store takes."""

import os

_COMPONENT_MAX_BYTES = 255


def parts_of(path: str) -> list[str]:
    """Return the parts of a path. Raises ValueError for one that no store may be given."""
    parts = path.split("/")
    if not all(_is_safe(part) for part in parts):
        raise ValueError(f"{path!r} is no path in the store")
    return parts


def _is_safe(part: str) -> bool:
    return bool(part) and part[0] != "." and part.isprintable() and len(os.fsencode(part)) <= _COMPONENT_MAX_BYTES
