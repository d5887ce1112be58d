"""What a run needs: a durable Postgres, the tree with its one web process, and the bare handler beside it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from hyperion.db import migrations
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.web.tokens import Tokens
from tests.lifecycle.tree import ROOT, free_port

SECRET_KEY = "k" * 40
START_LIMIT_S = 30


@dataclass
class Stage:
    """Everything that runs, and how to reach it."""

    url: str
    folder: Path
    port: int
    bare_port: int
    supervisor: subprocess.Popen[bytes]

    def token(self, user_id: str) -> str:
        """Return an access token that both servers believe."""
        return Tokens(SECRET_KEY).issue(user_id)

    @property
    def web(self) -> psutil.Process:
        """The web process."""
        everybody = psutil.Process(self.supervisor.pid).children(recursive=True)
        return next(process for process in everybody if "hyperion: web" in " ".join(process.cmdline()))

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Open a connection to the database, each statement a transaction."""
        return psycopg.connect(self.url, autocommit=True)

    def settle_down(self) -> None:
        """Vacuum, analyze and checkpoint, so that nobody pays for what was before."""
        with self.connect() as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def forget_peak(self) -> None:
        """Let the peak of the web process's memory begin again from now."""
        Path(f"/proc/{self.web.pid}/clear_refs").write_text("5")

    def memory_mb(self, *, peak: bool = False) -> float:
        """Return the resident memory of the web process, or its peak since `forget_peak`."""
        status = Path(f"/proc/{self.web.pid}/status").read_text()
        found = re.search(rf"^{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status, re.MULTILINE)
        assert found
        return int(found[1]) / 1024


@contextmanager
def running_stage(**settings: str) -> Iterator[Stage]:
    """Start everything in a temporary folder; stop it and remove the folder."""
    with tempfile.TemporaryDirectory(prefix="hyperion-bench-") as name:
        folder = Path(name)
        postgres = EmbeddedPostgres(folder, durable=True)
        postgres.start()
        url = postgres.ensure_database("bench")
        migrations.apply(url)
        port, bare_port = free_port(), free_port()
        own = {name: value for name, value in os.environ.items() if not name.startswith("HYPERION_")}
        environ = own | {
            "DATABASE_URL": url,
            "SECRET_KEY": SECRET_KEY,
            "HYPERION_ACTORS": "web",
            "HYPERION_HOST": "127.0.0.1",
            "HYPERION_PORT": str(port),
            "HYPERION_VAR": str(folder),
            "HYPERION_NODE": "bench",
            **settings,
        }
        with (folder / "log").open("wb") as log:
            supervisor = subprocess.Popen([sys.executable, str(ROOT / "supervisor.py")], env=environ, stdout=log)
        bare = subprocess.Popen([sys.executable, "-m", "benchmarks.http.bare", str(bare_port), url, SECRET_KEY])
        try:
            _wait_for(f"http://127.0.0.1:{port}/readyz")
            _wait_for(f"http://127.0.0.1:{bare_port}/")
            yield Stage(url, folder, port, bare_port, supervisor)
        finally:
            supervisor.send_signal(signal.SIGTERM)
            bare.kill()
            supervisor.wait()
            bare.wait()
            postgres.stop()


def _wait_for(url: str) -> None:
    """Wait until somebody answers who is not unavailable."""
    deadline_s = time.monotonic() + START_LIMIT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError as answer:
            if answer.code != 503:
                return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
        else:
            return
        time.sleep(0.05)
