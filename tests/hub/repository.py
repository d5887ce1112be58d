"""Dataset repositories as the Hub keeps them: commits on one branch, contents by their hash."""

import base64
import fnmatch
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What the .gitattributes of a new dataset says, as far as photos are concerned.
LFS_PATTERNS = ("*.jpg", "*.jpeg", "*.png", "*.webp", "*.tiff", "*.bmp", "*.gif", "*.bin", "*.zip")
REGULAR_MAX_BYTES = 10 << 20
_SPOILT = re.compile(r"spoilt(?:-(\d{3}))?")  # a file's name may say that it is refused, and how


@dataclass(frozen=True)
class File:
    """One version of a file: the sha256 of its content, its size, and whether git holds a pointer only."""

    sha256: str
    size: int
    is_lfs: bool
    git_oid: str


@dataclass(frozen=True)
class Commit:
    """What one commit did, as paths."""

    oid: str
    summary: str
    description: str
    added: tuple[str, ...]
    deleted: tuple[str, ...]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class Contents:
    """Bytes by their sha256, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, sha256: str) -> bool:
        """Tell whether these bytes were uploaded."""
        return self.path(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """Return the file with these bytes."""
        return self._folder / sha256

    def keep(self, content: bytes) -> str:
        """Keep bytes; return their sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.path(sha256).write_bytes(content)
        return sha256


@dataclass
class Repository:
    """One repository. `files` is the tree at its head."""

    id: str
    is_private: bool
    contents: Contents
    files: dict[str, File] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commits.append(Commit(_oid(self.id), "initial commit", "", (), ()))

    @property
    def head(self) -> str:
        """The oid of the last commit."""
        return self.commits[-1].oid

    def read(self, path: str) -> bytes:
        """Return the content of a file at the head."""
        return self.contents.path(self.files[path].sha256).read_bytes()

    def preupload(self, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Say for each file how it is to be sent, and what is there under its path."""
        return [self._preupload(str(file["path"]), int(file["size"])) for file in asked]

    def _preupload(self, path: str, size: int) -> dict[str, Any]:
        is_lfs = any(fnmatch.fnmatch(path.lower(), pattern) for pattern in LFS_PATTERNS) or size > REGULAR_MAX_BYTES
        there = self.files.get(path)
        answer = {"path": path, "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
        return answer if there is None else answer | {"oid": there.sha256 if there.is_lfs else there.git_oid}

    def commit(self, body: bytes) -> Commit:
        """Do everything that the lines ask for, or nothing. Raises Refused."""
        header, changes = _parsed(body)
        parent = header.get("parentCommit")
        if parent and not self.head.startswith(parent):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files, added, deleted = dict(self.files), [], []
        for key, value in changes:
            path = str(value["path"])
            if key == "deletedFile":
                if files.pop(path, None) is None:
                    raise Refused(404, f'A file with this name doesn\'t exist: "{path}"', code="EntryNotFound")
                deleted.append(path)
            else:
                files[path] = self._file(key, value)
                added.append(path)
        self.files = files
        oid = _oid(f"{self.head}{json.dumps([added, deleted])}")
        self.commits.append(Commit(oid, header["summary"], header["description"], tuple(added), tuple(deleted)))
        return self.commits[-1]

    def _file(self, key: str, value: dict[str, Any]) -> File:
        path = str(value["path"])
        if spoilt := _SPOILT.search(path):
            raise Refused(int(spoilt[1] or 400), f'invalid file "{path}"')
        if key == "lfsFile":
            sha256 = str(value["oid"])
            if not self.contents.has(sha256):
                raise Refused(400, f"LFS object {sha256} was not uploaded")
            size = self.contents.path(sha256).stat().st_size
            return File(sha256, size, is_lfs=True, git_oid=git_oid(_pointer(sha256, size)))
        if key == "file" and value.get("encoding") == "base64":
            content = base64.b64decode(value["content"])
            return File(self.contents.keep(content), len(content), is_lfs=False, git_oid=git_oid(content))
        raise Refused(400, f"unknown operation {key}")


def git_oid(content: bytes) -> str:
    """Return the name that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _parsed(body: bytes) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    lines = [json.loads(line) for line in body.splitlines() if line.strip()]
    if not lines or lines[0]["key"] != "header" or not lines[0]["value"].get("summary"):
        raise Refused(400, "the header is missing")
    if len(lines) == 1:
        raise Refused(400, "the commit is empty")
    return lines[0]["value"], [(line["key"], line["value"]) for line in lines[1:]]


def _oid(seed: str) -> str:
    return hashlib.sha1(seed.encode()).hexdigest()
