"""Overlapping tiles of a photo, in which small litter is large enough to be seen."""

TILED_LABEL = "garbage"  # bins and overflowing ones are large; in tiles they come out in pieces

_ACROSS = 3
_OVERLAP = 0.2


def tiled_side(size: tuple[int, int]) -> int:
    """Return the length in pixels that the shorter side of a photo must have for tiles of `size`."""
    return round(max(size) * (_ACROSS - (_ACROSS - 1) * _OVERLAP))


def tiles_of(photo: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Return left, top, right and bottom of tiles that cover a photo of (width, height): three
    along its shorter side, as many as it takes along the other (4 : 3: four), each overlapping the
    next by about a fifth. They are of the shape of the net's input `size`.
    """
    side = min(photo) / (_ACROSS - (_ACROSS - 1) * _OVERLAP)
    longest = max(size)
    width, height = (min(max(1, round(side * part / longest)), whole) for part, whole in zip(size, photo, strict=True))
    return [
        (left, top, left + width, top + height)
        for top in _starts(photo[1], height)
        for left in _starts(photo[0], width)
    ]


def _starts(whole: int, part: int) -> list[int]:
    left = whole - part
    steps = max(-(-left // part), round(left / (part * (1 - _OVERLAP))))
    return [round(step * left / steps) for step in range(steps + 1)] if left else [0]
