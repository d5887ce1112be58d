"""Any bytes at all: the readers of bodies and queries answer them, and SQL in any text is nothing but text."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import jwt
import msgspec
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hyperion.settings import Settings
from hyperion.web import auth, keys
from hyperion.web.multipart import receive_files
from hyperion.web.problems import Problem
from hyperion.web.reading import read_json, read_query
from hyperion.web.route import Route
from hyperion.web.routes import ROUTES
from hyperion.web.vault import VaultQuery
from tests.web.conftest import MULTIPART, SMALL, Person, Site, form

quick = settings(max_examples=150, deadline=None)
MAX_FILES, MAX_FILE_BYTES = 3, 300


@dataclass(frozen=True)
class Outcome:
    """What a multipart body came to: the files as (name, content, too large), or the status of the refusal."""

    files: tuple[tuple[str, bytes, bool], ...] = ()
    refused: int = 0


async def receive(body: bytes, cuts: Sequence[int] = ()) -> Outcome:
    """Read a body that arrives in pieces, cut at these places."""
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:end] for start, end in pairwise(places)]
    request = requested(MULTIPART)
    feeding = asyncio.create_task(feed(request.content, pieces))
    folder = Path(tempfile.mkdtemp())
    files = []
    try:
        async for file in receive_files(
            request, folder, max_files=MAX_FILES, max_file_bytes=MAX_FILE_BYTES, step_s=5.0
        ):
            content = file.path.read_bytes()
            assert len(content) <= MAX_FILE_BYTES
            assert file.is_too_large == (file.size_bytes > MAX_FILE_BYTES)
            assert file.is_too_large or len(content) == file.size_bytes
            files.append((file.filename, content, file.is_too_large))
    except Problem as problem:
        return Outcome(refused=problem.status)
    finally:
        await feeding
        shutil.rmtree(folder)
    assert len(files) <= MAX_FILES
    return Outcome(tuple(files))


async def feed(content: StreamReader, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        content.feed_data(piece)
        await asyncio.sleep(0)
    content.feed_eof()


def requested(headers: dict[str, str], body: bytes | None = None, *, path: str = "/") -> web.Request:
    """Return a request as aiohttp would hand it on."""
    app = web.Application()
    app[keys.SETTINGS] = Settings()
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.transport = asyncio.Transport()  # without one it counts as closed
    content = StreamReader(protocol, 1 << 20, loop=loop)
    if body is not None:
        content.feed_data(body)
        content.feed_eof()
    return make_mocked_request("POST", path, headers, payload=content, app=app)


FRAGMENTS_OF_FORMS = [
    b"--b",
    b"--b--",
    b"\r\n",
    b"\r\n--b\r\n",
    b"\r\n--b--\r\n",
    b"\r\n\r\n",
    b"-",
    b"\r",
    b"\n",
    b'Content-Disposition: form-data; name="files"; filename="a.jpg"\r\n',
    b"Content-Disposition: form-data; name=\"files\"; filename*=UTF-8''%ff%00\r\n",
    b'Content-Disposition: form-data; name="files\r\n',
    b'Content-Disposition: form-data; name="_charset_"\r\n',
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: \xff\xfe/;;;=\r\n",
    b"Content-Length: 7\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: nonsense\r\n",
    b"x" * 301,
    form(("a.jpg", b"photo")),
    form(("a.jpg", b"photo"), ("b.jpg", b"x" * 301)),
]
cuts = st.lists(st.integers(0, 4000), max_size=12)
forms = st.lists(st.sampled_from(FRAGMENTS_OF_FORMS) | st.binary(max_size=20), max_size=12).map(b"".join)
contents = st.binary(max_size=400) | st.lists(st.sampled_from([b"--b", b"\r\n", b"--", b"\r", b"x"])).map(b"".join)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@quick
@given(body=forms | st.binary(max_size=300), cuts=cuts)
async def test_any_bytes_as_a_form_are_files_or_a_refusal_however_they_are_cut(body: bytes, cuts: list[int]) -> None:
    """Row 25."""
    whole, in_pieces = await receive(body), await receive(body, cuts)

    assert whole.refused in (0, 400, 413)
    assert in_pieces == whole


@quick
@given(
    files=st.lists(st.tuples(names, contents.filter(lambda content: b"\r\n--b" not in b"\r\n" + content)), max_size=3),
    cuts=cuts,
)
async def test_what_was_sent_arrives_however_it_is_cut(files: list[tuple[str, bytes]], cuts: list[int]) -> None:
    outcome = await receive(form(*files), cuts)

    expected = tuple((name, content[:MAX_FILE_BYTES], len(content) > MAX_FILE_BYTES) for name, content in files)
    assert outcome.refused == 0
    assert [too_large for _, _, too_large in outcome.files] == [too_large for _, _, too_large in expected]
    for (_, content, is_too_large), (_, sent, _) in zip(outcome.files, expected, strict=True):
        assert content == sent if not is_too_large else sent.startswith(content)


BODIES = [auth.Signup, auth.Login, auth.Profile]
FRAGMENTS_OF_JSON = [
    *(b'{"email":', b'"password":', b'"full_name":', b'"a@b"', b'"long enough"', b"{", b"}", b"[", b"]", b",", b":"),
    *(b"null", b"NaN", b"-", b"1e999", b"9223372036854775808", b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"', b"\\"),
    *(b"[" * 5000, b'{"a":' * 5000, b"x" * 70_000, b"\xef\xbb\xbf", b" ", b"true"),
]
texts = st.lists(st.sampled_from(FRAGMENTS_OF_JSON) | st.binary(max_size=5), max_size=10).map(b"".join)


@quick
@given(kind=st.sampled_from(BODIES), body=texts | st.binary(max_size=200))
async def test_any_bytes_as_json_are_a_value_or_a_refusal(kind: type[msgspec.Struct], body: bytes) -> None:
    """Row 25."""
    try:
        value = await read_json(requested({"Content-Type": "application/json"}, body), kind)
    except Problem as problem:
        assert problem.status in (400, 413, 422)
        msgspec.json.encode(problem.detail)
    else:
        assert isinstance(value, kind)
        assert "\0" not in str(value)


@quick
@given(
    email=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=254),
    password=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=8, max_size=128),
)
async def test_any_proper_text_is_read_as_it_was_sent(email: str, password: str) -> None:
    body = msgspec.json.encode({"email": email, "password": password})

    value = await read_json(requested({"Content-Type": "application/json"}, body), auth.Signup)

    assert (value.email, value.password) == (email, password)


@quick
@given(
    query=st.lists(
        st.tuples(
            st.sampled_from(["search", "status", "order_by", "direction", "page", "page_size", "x"])
            | st.text(max_size=3),
            st.text(max_size=8) | st.sampled_from(["1", "NaN", "inf", str(2**63), "-0", "1e2", "null", "READY", "%00"]),
        ),
        max_size=5,
    )
)
async def test_any_query_is_read_or_refused(query: list[tuple[str, str]]) -> None:
    """Row 25."""
    path = "/?" + "&".join(f"{quote(name, errors='replace')}={quote(value, errors='replace')}" for name, value in query)
    try:
        value = read_query(requested({}, path=path), VaultQuery)
    except Problem as problem:
        assert problem.status == 422
        assert problem.errors[0].pointer.startswith("/")
    else:
        assert value.page >= 1
        assert 1 <= value.page_size <= 100


FRAGMENTS_OF_SQL = [
    *(
        "'",
        '"',
        "\\",
        ";",
        "--",
        "/*",
        "*/",
        "$1",
        "$$",
        "%",
        "_",
        "%s",
        "%(x)s",
        "{0}",
        ")",
        "(",
        " OR 1=1 ",
        "E'\\''",
    ),
    *("; DROP TABLE media CASCADE; ", "; DELETE FROM app_user; ", " UNION SELECT password_hash FROM app_user "),
    *("; UPDATE app_user SET email='x'; ", "; SELECT pg_sleep(20); ", "\u2019", "\uff07", "a@b.example", "null"),
]
fragments = st.lists(st.sampled_from(FRAGMENTS_OF_SQL), min_size=1, max_size=6).map("".join)


def fields_of(kind: Any) -> Sequence[str]:
    """Return the names of a struct's fields, also of `Struct | None`."""
    return next(
        (k.__struct_fields__ for k in (kind, *getattr(kind, "__args__", ())) if hasattr(k, "__struct_fields__")), ()
    )


def requests_with(text: str, route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the paths and options of requests that put `text` into each parameter of a route in turn, and in all."""
    in_path = quote(text, safe="") if "{" in route.path else ""
    path = route.path.replace("{id}", in_path) if in_path else route.path
    query, body = (fields_of(route.takes.get(part)) for part in ("query", "body"))
    yield path, {"headers": {"X-Request-ID": text}}
    for names in [*([name] for name in query), list(query)]:
        yield path, {"params": dict.fromkeys(names, text)}
    for names in [*([name] for name in body), list(body)]:
        yield path, {"json": {"email": "eve@example.org", "password": "long enough"} | dict.fromkeys(names, text)}
    if route.path == "/api/upload/files":
        yield path, {"data": form((text, SMALL), (text, b"no photo")), "headers": MULTIPART}


def fresh_token(site: Site, person: Person) -> str:
    now = datetime.now(UTC)
    claims = {"sub": person.id, "jti": str(uuid4()), "iat": now, "exp": now + timedelta(minutes=5)}
    return jwt.encode(claims, site.settings.secret_key)


async def state_of(site: Site) -> list[Any]:
    """Return what no request of these may change: the tables, and what somebody else has."""
    tables = await site.db.fetch("SELECT relname FROM pg_class WHERE relkind IN ('r', 'i') ORDER BY relname")
    users = await site.db.fetch("SELECT * FROM app_user WHERE email = 'bob@example.org'")
    photos = await site.db.fetch(
        "SELECT m.* FROM media AS m JOIN app_user AS u ON u.id = m.user_id WHERE u.email = 'bob@example.org'"
    )
    return [[tuple(row) for row in rows] for rows in (tables, users, photos)]


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=fragments)
@example(text="'; DROP TABLE media CASCADE; DELETE FROM app_user; --")
async def test_sql_in_any_parameter_of_any_route_is_no_server_error_and_has_no_effect(
    site: Site, ada: Person, bob: Person, text: str
) -> None:
    """Row 36."""
    await bob.photo()
    before = await state_of(site)
    for route in ROUTES:
        for path, options in requests_with(text, route):
            person = Person(site, ada.id, fresh_token(site, ada))  # as some of the routes end a session
            headers = person.headers | options.pop("headers", {})
            began_s = time.monotonic()
            answer = await site.client.request(route.method, path, headers=headers, **options)

            assert answer.status < 500, (route, options)
            assert time.monotonic() - began_s < 10, (route, options)
    assert await state_of(site) == before


async def test_a_name_with_sql_is_kept_as_it_is(ada: Person) -> None:
    """Row 36."""
    name = "Robert'); DROP TABLE app_user; --"

    await ada.put("/api/auth/me", json={"full_name": name})

    assert (await (await ada.get("/api/auth/me")).json())["full_name"] == name
