"""Postgres servers for tests: in memory where there is room, and made once for all of this process."""

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from hyperion.db.embedded import EmbeddedPostgres

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30  # some servers at once, of which each may write 1 GB


def server_binaries() -> Path | None:
    """Return the folder of another Postgres to test against (TEST_PG_BIN), or None."""
    chosen = os.environ.get("TEST_PG_BIN")
    return Path(chosen) if chosen else None


def quick_folder() -> str | None:
    """Return the folder in which temporary ones are to be made; None for the usual one.

    Each test's database is a copy of 350 small files. A disk's file system takes 0.04 to 0.3 s of a core
    for them, memory always 0.02 s.
    """
    if MEMORY.is_mount() and os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        return str(MEMORY)
    return None


def make_server(folder: Path, *, durable: bool = False) -> EmbeddedPostgres:
    """Return a server that was never started, with a copy of files that are made once: initdb takes longer."""
    server = EmbeddedPostgres(folder, binaries=server_binaries(), durable=durable)
    folder.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", _files(), folder], check=True)
    return server


@cache
def _files() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="hyperion-postgres-", dir=quick_folder())
    atexit.register(folder.cleanup)
    server = EmbeddedPostgres(Path(folder.name), binaries=server_binaries(), durable=False)
    server.start()
    server.stop()
    return Path(folder.name) / "pgdata"
