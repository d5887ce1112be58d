"""The content-addressed store behind xet: xorbs of chunks, and shards that say which chunks make a file.

After the published specification of the Xet protocol. Upload grants are answered 404, as by a store
that is older than they are; the client then sends xorbs directly.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import lz4.frame

from tests.hub.repository import Contents, Refused

_SHARD_TAG = b"HFRepoMetaData\0"
_BOOKEND = b"\xff" * 32
_ENTRY_BYTES = 48
_WITH_VERIFICATION = 1 << 31
_WITH_METADATA = 1 << 30
_XORB_MAX_BYTES = (64 << 20) + 8192 * 8  # 64 MiB of chunks, and the headers of as many as there may be


@dataclass(frozen=True)
class Term:
    """A run of chunks of one xorb."""

    xorb: str
    length: int
    start: int
    end: int


@dataclass(frozen=True)
class Described:
    """A file as a shard describes it."""

    sha256: str
    terms: list[Term]


class Cas:
    """Keeps chunks in memory, and files whose shard has arrived among the contents."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._xorbs: dict[str, list[bytes]] = {}

    def add_xorb(self, name: str, body: bytes) -> bool:
        """Keep a xorb; tell whether it is new. Raises Refused."""
        if len(body) > _XORB_MAX_BYTES:
            raise Refused(400, "the xorb is too large")
        is_new = name not in self._xorbs
        self._xorbs[name] = list(_chunks(body))
        return is_new

    def add_shard(self, body: bytes) -> int:
        """Put the files of a shard together; return how many. Raises Refused."""
        files = list(_files(body))
        for file in files:
            content = b"".join(self._read(term) for term in file.terms)
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise Refused(400, "a file is not what the shard says")
            self._contents.keep(content)
        return len(files)

    def _read(self, term: Term) -> bytes:
        if term.xorb not in self._xorbs:
            raise Refused(400, f"xorb {term.xorb} was not uploaded")
        content = b"".join(self._xorbs[term.xorb][term.start : term.end])
        if len(content) != term.length:
            raise Refused(400, "a term has not the length that the shard says")
        return content


def _chunks(xorb: bytes) -> Iterator[bytes]:
    """Yield the chunks of a xorb, up to its footer or end."""
    at = 0
    while at < len(xorb) and not xorb.startswith(b"XETBLOB", at):
        version, packed_size = xorb[at], int.from_bytes(xorb[at + 1 : at + 4], "little")
        scheme, size = xorb[at + 4], int.from_bytes(xorb[at + 5 : at + 8], "little")
        if version != 0:
            raise Refused(400, "unknown version of a chunk")
        content = _unpacked(scheme, xorb[at + 8 : at + 8 + packed_size])
        if len(content) != size:
            raise Refused(400, "a chunk has not the size that it says")
        yield content
        at += 8 + packed_size


def _unpacked(scheme: int, packed: bytes) -> bytes:
    if scheme == 0:
        return packed
    content: bytes = lz4.frame.decompress(packed)
    return content if scheme == 1 else _ungrouped(content)


def _ungrouped(grouped: bytes) -> bytes:
    """Undo the grouping of bytes by their place in fours."""
    content = bytearray(len(grouped))
    at = 0
    for place in range(4):
        count = (len(grouped) - place + 3) // 4
        content[place::4] = grouped[at : at + count]
        at += count
    return bytes(content)


def _files(shard: bytes) -> Iterator[Described]:
    if not shard.startswith(_SHARD_TAG) or struct.unpack_from("<Q", shard, 32)[0] != 2:
        raise Refused(400, "this is no shard")
    at = _ENTRY_BYTES
    while shard[at : at + 32] != _BOOKEND:
        flags, count = struct.unpack_from("<II", shard, at + 32)
        at += _ENTRY_BYTES
        terms = [_term(shard, at + number * _ENTRY_BYTES) for number in range(count)]
        at += count * _ENTRY_BYTES * (2 if flags & _WITH_VERIFICATION else 1)
        if not flags & _WITH_METADATA:
            raise Refused(400, "the shard does not say the sha256 of its files")
        yield Described(_hash_text(shard[at : at + 32]), terms)
        at += _ENTRY_BYTES


def _term(shard: bytes, at: int) -> Term:
    _, length, start, end = struct.unpack_from("<IIII", shard, at + 32)
    return Term(_hash_text(shard[at : at + 32]), length, start, end)


def _hash_text(raw: bytes) -> str:
    """Write a hash as the protocol does: four little-endian numbers in hexadecimal."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))
