"""The file of place names, made once for all that runs in this process: it takes a second of a core."""

import atexit
import contextlib
import tempfile
from functools import cache
from pathlib import Path

from hyperion.media.address import Gazetteer


@cache
def gazetteer_folder() -> Path:
    """Return a folder with a gazetteer, which goes with this process."""
    folder = tempfile.TemporaryDirectory(prefix="hyperion-gazetteer-")
    atexit.register(folder.cleanup)
    Gazetteer(Path(folder.name)).address(0, 0)
    return Path(folder.name)


def lend_gazetteer(folder: Path) -> None:
    """Let a tree that keeps its files in `folder` find a gazetteer instead of making its own."""
    for made in gazetteer_folder().iterdir():
        with contextlib.suppress(FileExistsError):
            (folder / made.name).symlink_to(made)
