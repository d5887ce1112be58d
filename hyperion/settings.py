"""All settings, read once from the environment into one frozen object."""

import difflib
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from hyperion import environ as read
from hyperion.detector_settings import DetectorSettings
from hyperion.environ import setting as _setting
from hyperion.errors import BadConfiguration
from hyperion.hub_settings import HubSettings

DEV_ORIGINS = ("http://localhost:5173", "http://127.0.0.1:5173")
SECRETS = ("SECRET_KEY", "DATABASE_URL", "HF_TOKEN", "HYPERION_METRICS_TOKEN")
ACTOR_KINDS = ("reaper", "metrics", "archiver", "worker", "web")


@dataclass(frozen=True, kw_only=True)
class Settings(HubSettings, DetectorSettings):
    """The settings of one supervisor and its actors. Durations in seconds, sizes in bytes."""

    dev: bool = False
    database_url: str = field(
        default="",
        repr=False,
        metadata={
            "name": "DATABASE_URL",
            "parse": read.database_url,
            "doc": "Postgres 14 or newer; required outside --dev, which starts its own under var/",
        },
    )
    secret_key: str = field(
        default="",
        repr=False,
        metadata={
            "name": "SECRET_KEY",
            "parse": read.secret,
            "doc": "key that signs tokens, at least 32 bytes; required outside --dev",
        },
    )
    frontend_urls: tuple[str, ...] = _setting("FRONTEND_URL", read.names, (), "allowed origins, comma-separated")
    host: str = _setting("HYPERION_HOST", read.text, "0.0.0.0", "address that the web actor listens on")  # noqa: S104
    port: int = _setting("HYPERION_PORT", read.whole(1, 65535), 7860, "port of the web actor; PORT works as well")
    node: str = _setting("HYPERION_NODE", read.node_name, "", "name of this node; default: the host name")
    actors: tuple[str, ...] = _setting(
        "HYPERION_ACTORS", read.names_of(*ACTOR_KINDS), ACTOR_KINDS, "kinds of actors that run on this node"
    )
    workers: int = _setting("HYPERION_WORKERS", read.whole(1, 10), 10, "how many of the ten workers run here")
    var_dir: Path = _setting("HYPERION_VAR", Path, Path("var"), "folder for what a node keeps on disk")
    store_dir: Path = _setting("HYPERION_STORE_DIR", Path, Path(), "folder of the local store; default: var/store")
    log_level: str = _setting(
        "HYPERION_LOG_LEVEL", read.one_of("debug", "info", "warning", "error"), "info", "least level that is logged"
    )
    environment: str = _setting("HYPERION_ENVIRONMENT", read.text, "production", "name shown on dashboards")
    max_file_bytes: int = _setting(
        "HYPERION_MAX_FILE_BYTES", read.whole(1024, 1 << 30), 25 << 20, "largest photo that is taken"
    )
    max_files: int = _setting("HYPERION_MAX_FILES", read.whole(1, 1000), 50, "most photos in one request")
    max_pixels: int = _setting(
        "HYPERION_MAX_PIXELS", read.whole(1, 1 << 30), 120_000_000, "most pixels of a photo that is taken"
    )
    upload_timeout_s: float = _setting(
        "HYPERION_UPLOAD_TIMEOUT_S", read.seconds(1, 3600), 300.0, "longest time that one upload request may take"
    )
    user_max_files: int = _setting(
        "HYPERION_USER_MAX_FILES", read.whole(1, 10**9), 100_000, "most photos that one user may keep"
    )
    user_max_bytes: int = _setting(
        "HYPERION_USER_MAX_BYTES", read.whole(1024, 1 << 50), 100 << 30, "most bytes of photos that one user may keep"
    )
    request_timeout_s: float = _setting(
        "HYPERION_REQUEST_TIMEOUT_S",
        read.seconds(0.1, 3600),
        20.0,
        "time for a request's headers, for a JSON body, for each 16 KiB of an upload",
    )
    heartbeat_s: float = _setting(
        "HYPERION_HEARTBEAT_S", read.seconds(0.1, 60), 2.0, "time between two beats of an actor"
    )
    silence_s: float = _setting(
        "HYPERION_SILENCE_S", read.seconds(1, 3600), 15.0, "silence after which an actor is killed and replaced"
    )
    offline_s: float = _setting(
        "HYPERION_OFFLINE_S", read.seconds(1, 86400), 120.0, "silence after which others take an actor's tasks"
    )
    grace_s: float = _setting(
        "HYPERION_GRACE_S", read.seconds(0.1, 600), 8.0, "time to stop in after SIGTERM, then SIGKILL"
    )
    start_budget_s: float = _setting(
        "HYPERION_START_BUDGET_S",
        read.seconds(1, 3600),
        60.0,
        "time the database has to answer at start (else exit 69)",
    )
    park_s: float = _setting(
        "HYPERION_PARK_S",
        read.seconds(1, 86400),
        60.0,
        "time a child that died too often waits before it is tried again",
    )
    poll_s: float = _setting(
        "HYPERION_POLL_S",
        read.seconds(0.05, 60),
        1.0,
        "time within which the idle actors of a lane look for work unwoken, once together",
    )
    lease_s: float = _setting(
        "HYPERION_LEASE_S",
        read.seconds(2, 86400),
        60.0,
        "time a claim holds without being renewed; renewed every third of it",
    )
    task_timeout_s: float = _setting(
        "HYPERION_TASK_TIMEOUT_S", read.seconds(1, 86400), 600.0, "longest time one attempt at a photo may take"
    )
    max_attempts: int = _setting("HYPERION_MAX_ATTEMPTS", read.whole(1, 100), 5, "attempts that a task gets")
    max_crashes: int = _setting(
        "HYPERION_MAX_CRASHES", read.whole(1, 100), 3, "crashes of its worker after which a task is dead"
    )
    archive_batch: int = _setting("HYPERION_ARCHIVE_BATCH", read.whole(1, 250), 100, "most photos stored in one go")
    reap_s: float = _setting(
        "HYPERION_REAP_S", read.seconds(0.1, 86400), 600.0, "time between two rounds over the photos"
    )
    rescue_s: float = _setting(
        "HYPERION_RESCUE_S", read.seconds(0.1, 3600), 5.0, "time between two looks for lost leases"
    )
    pending_limit_s: float = _setting(
        "HYPERION_PENDING_LIMIT_S",
        read.seconds(1, 86400),
        900.0,
        "age after which a photo that nobody will store is FAILED",
    )
    uploaded_limit_s: float = _setting(
        "HYPERION_UPLOADED_LIMIT_S",
        read.seconds(1, 86400),
        600.0,
        "age after which an UPLOADED photo's task is made sure of",
    )
    task_retention_s: float = _setting(
        "HYPERION_TASK_RETENTION_S", read.seconds(0, 1e8), 86400.0, "time that finished tasks are kept"
    )
    sample_s: float = _setting(
        "HYPERION_SAMPLE_S", read.seconds(0.1, 60), 10.0, "time between two samples of the machine"
    )
    keep_minutes_s: float = _setting(
        "HYPERION_KEEP_MINUTES_S", read.seconds(90_000, 1e9), 172_800.0, "time the machine's history by minute is kept"
    )
    keep_hours_s: float = _setting(
        "HYPERION_KEEP_HOURS_S", read.seconds(90_000, 1e9), 2_678_400.0, "time the machine's history by hour is kept"
    )
    keep_days_s: float = _setting(
        "HYPERION_KEEP_DAYS_S", read.seconds(691_200, 1e9), 34_560_000.0, "time everything counted by day is kept"
    )
    metrics_token: str = field(
        default="",
        repr=False,
        metadata={
            "name": "HYPERION_METRICS_TOKEN",
            "parse": read.token,
            "doc": "bearer token that opens /metrics to other machines, at least 16 bytes",
        },
    )
    trusted_hops: int = _setting(
        "HYPERION_TRUSTED_HOPS", read.whole(0, 10), 0, "proxies in front whose X-Forwarded-For entry is believed"
    )


def documented() -> list[tuple[str, str, str]]:
    """List every setting as (environment name, default, meaning), those of the detector and of the Hub last."""
    groups = [{f.name for f in fields(group)} for group in (DetectorSettings, HubSettings)]
    listed = [f for f in fields(Settings) if f.metadata]
    listed.sort(key=lambda f: [f.name in group for group in reversed(groups)])
    return [(f.metadata["name"], _shown(f), f.metadata["doc"]) for f in listed]


def _shown(setting: Field[Any]) -> str:
    default = setting.default
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(default)
    return "" if default == Path() else str(default)


def load(environ: Mapping[str, str] | None = None, *, dev: bool = False) -> Settings:
    """Read the settings from `environ` (default: the process environment).

    With `dev` the file `.env` of the working directory fills what the environment leaves out, a
    key is generated and kept, and `database_url` may stay empty: the caller starts its own server.
    Raises BadConfiguration with every fault at once.
    """
    given = dict(os.environ if environ is None else environ)
    if dev and environ is None:
        given = read.read_env_file(Path(".env")) | given
    known = {f.metadata["name"]: f for f in fields(Settings) if f.metadata}
    faults = _strangers(given, known)
    values: dict[str, Any] = {"dev": dev}
    port_name = "PORT" if given.get("PORT") and not given.get("HYPERION_PORT") else "HYPERION_PORT"
    for documented_name, setting in known.items():
        name = port_name if documented_name == "HYPERION_PORT" else documented_name
        raw = given.get(name, "").strip()
        if not raw:
            continue
        try:
            values[setting.name] = setting.metadata["parse"](raw)
        except ValueError as fault:
            shown = "" if name in SECRETS else f" (is {raw!r})"
            faults.append(f"{name} {_reason(fault)}{shown}")
    if not dev:
        faults += [
            f"{name} is required (only --dev does without it)"
            for name in ("DATABASE_URL", "SECRET_KEY")
            if not given.get(name, "").strip()
        ]
    if values.get("hf_repo_id") and not values.get("hf_token"):
        faults.append("HF_TOKEN is required with HF_REPO_ID")
    if faults:
        raise BadConfiguration(faults)
    return _completed(values)


def check_port(settings: Settings) -> None:
    """Raise BadConfiguration when something else listens where the web actor is to listen."""
    if "web" not in settings.actors:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise BadConfiguration([f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"]) from error


def _completed(values: dict[str, Any]) -> Settings:
    values.setdefault("node", read.host_name())
    values["var_dir"] = Path(values.get("var_dir", "var")).absolute()
    values["store_dir"] = Path(values.get("store_dir", values["var_dir"] / "store")).absolute()
    if values["dev"]:
        values.setdefault("environment", "development")
        if "secret_key" not in values:
            values["secret_key"] = _kept_key(values["var_dir"] / "secret_key")
        values["frontend_urls"] = (*values.get("frontend_urls", ()), *DEV_ORIGINS)
    return Settings(**values)


def _reason(fault: ValueError) -> str:
    text = str(fault)
    return text if text.startswith("must ") else "must be a number"


def _strangers(given: Mapping[str, str], known: Mapping[str, object]) -> list[str]:
    faults = []
    for name in sorted(given):
        if name.startswith("HYPERION_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"{name} is not a setting{hint}")
    return faults


def _kept_key(path: Path) -> str:
    """Return the key in `path`; write a fresh one there, readable by its owner alone, if it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read.secret(path.read_text(encoding="ascii").strip())
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text(encoding="ascii")
