"""Values as they stand in the environment: parsers that raise ValueError with a sentence's end."""

import math
import re
import socket
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

SECRET_KEY_MIN_BYTES = 32
TOKEN_MIN_BYTES = 16


def setting(name: str, parse: Callable[[str], Any], default: Any, doc: str) -> Any:
    """Return a dataclass field that is read from the variable `name`."""
    return field(default=default, metadata={"name": name, "parse": parse, "doc": doc})


def text(raw: str) -> str:
    """Take the text as it is."""
    return raw


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`."""

    def parse(raw: str) -> int:
        number = int(raw)
        if not low <= number <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return number

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of finite numbers of seconds from `low` to `high`."""

    def parse(raw: str) -> float:
        number = float(raw)
        if not (math.isfinite(number) and low <= number <= high):
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return number

    return parse


def yes_or_no(raw: str) -> bool:
    """Take `true` or `false`, and what people write for them."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if raw.lower() not in words:
        raise ValueError("must be true or false")
    return words[raw.lower()]


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes one of `choices`."""

    def parse(raw: str) -> str:
        if raw not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw

    return parse


def names_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of comma-separated lists of `choices`, of one at least."""

    def parse(raw: str) -> tuple[str, ...]:
        given = names(raw)
        if not given or any(name not in choices for name in given):
            raise ValueError(f"must be a comma-separated list of {', '.join(choices)}")
        return given

    return parse


def names(raw: str) -> tuple[str, ...]:
    """Take a comma-separated list; trailing slashes go, as in URLs."""
    return tuple(item for part in raw.split(",") if (item := part.strip().rstrip("/")))


def switch(raw: str) -> bool:
    """Take `on` or `off`."""
    if raw not in ("on", "off"):
        raise ValueError("must be on or off")
    return raw == "on"


def pairs(raw: str) -> tuple[tuple[str, str], ...]:
    """Take a comma-separated list of name=value, each name once."""
    given = [(name.strip(), value.strip()) for name, _, value in (item.partition("=") for item in names(raw))]
    if not given or not all(name and value for name, value in given) or len(dict(given)) < len(given):
        raise ValueError("must be a comma-separated list of name=value, each name once")
    return tuple(given)


def shares(raw: str) -> tuple[tuple[str, float], ...]:
    """Take a comma-separated list of name=number, numbers from 0 to 1."""
    try:
        given = tuple((name, float(value)) for name, value in pairs(raw))
    except ValueError:
        given = (("", math.nan),)
    if not all(0 <= share <= 1 for _, share in given):
        raise ValueError("must be a comma-separated list of name=number, numbers from 0 to 1")
    return given


def sha256(raw: str) -> str:
    """Take a SHA-256 in hexadecimal."""
    if len(raw) != 64 or not all(c in "0123456789abcdef" for c in raw.lower()):
        raise ValueError("must be 64 hexadecimal digits")
    return raw.lower()


def node_name(raw: str) -> str:
    """Take a name that fits a lock, a log and a label."""
    if not raw or len(raw) > 63 or not all(c.isalnum() or c in "-_." for c in raw):
        raise ValueError("must be 1 to 63 letters, digits, '-', '_' or '.'")
    return raw


def repository(raw: str) -> str:
    """Take a repository of the Hub, as `owner/name`, each as the Hub allows."""
    if not re.fullmatch(r"\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b", raw, re.ASCII) or re.search(r"--|\.\.|\.git$", raw):
        raise ValueError("must be owner/name, of letters, digits and single '-', '_' and '.' between them")
    return raw


def http_url(raw: str) -> str:
    """Take an address of a web server; a slash at its end goes."""
    if urlsplit(raw).scheme not in ("http", "https") or not urlsplit(raw).netloc:
        raise ValueError("must start with http:// or https://")
    return raw.rstrip("/")


def secret(raw: str) -> str:
    """Take a key that is long enough."""
    if len(raw.encode()) < SECRET_KEY_MIN_BYTES:
        raise ValueError(f"must have at least {SECRET_KEY_MIN_BYTES} bytes")
    return raw


def token(raw: str) -> str:
    """Take a bearer token that a header can carry and nobody guesses."""
    if len(raw) < TOKEN_MIN_BYTES or not raw.isascii() or not raw.isprintable() or " " in raw:
        raise ValueError(f"must be at least {TOKEN_MIN_BYTES} printable ASCII characters without spaces")
    return raw


def database_url(raw: str) -> str:
    """Bring a Postgres URL into the form that libpq and asyncpg both read.

    Accepts `postgres://`, `postgresql://` and the SQLAlchemy spelling `postgresql+asyncpg://` with
    its `ssl=` parameter. `channel_binding`, which managed databases add, is unknown to asyncpg.
    """
    parts = urlsplit(raw)
    if parts.scheme not in ("postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"):
        raise ValueError("must start with postgresql://")
    query = [
        ("sslmode" if key == "ssl" else key, value)
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
        if key != "channel_binding"
    ]
    return urlunsplit(("postgresql", parts.netloc, parts.path or "/", urlencode(query, safe="/"), ""))


def read_env_file(path: Path) -> dict[str, str]:
    """Read NAME=value lines; no file, no lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in map(str.strip, lines) if line and line[0] != "#")
    return {name.strip(): value.strip().strip("'\"") for name, equals, value in pairs if equals}


def host_name() -> str:
    """Return this machine's name, made fit for a node's."""
    cleaned = "".join(c if c.isalnum() or c in "-_." else "-" for c in socket.gethostname())
    return cleaned[:63] or "node"
