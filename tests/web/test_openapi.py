"""The document is one of OpenAPI, says what the routes do, and the page shows it without help from elsewhere."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from hyperion.web import live, multipart, vault
from hyperion.web.openapi import FAULTS, fault_statuses
from hyperion.web.routes import ROUTES
from tests.web.conftest import Site
from tests.web.contract import DOCUMENT, BreaksTheContract, find_fault, find_operation, hold_to_contract

API = Path(__file__).parents[2] / "docs" / "api.md"
ROW = re.compile(r"^\| `(?P<method>[A-Z]+) (?P<path>/[^` ?]*)` \|", re.MULTILINE)


def parameters(method: str, path: str) -> dict[str, dict[str, Any]]:
    operation = find_operation(method, path)
    assert operation
    return {parameter["name"]: parameter for parameter in operation["parameters"]}


def test_the_document_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_route_is_in_the_documents_and_every_documented_one_exists() -> None:
    declared = {(route.method, route.path) for route in ROUTES}

    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    listed = {(row["method"], row["path"]) for row in ROW.finditer(API.read_text(encoding="utf-8"))}

    assert described == declared
    assert sorted(declared - listed) == [], "not in docs/api.md"
    assert sorted(listed - declared) == [], "in docs/api.md alone"


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does() -> None:
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]

    assert len({operation["operationId"] for operation in operations}) == len(ROUTES)
    assert all(operation["summary"] for operation in operations)
    assert {status for route in ROUTES for status in fault_statuses(route)} <= FAULTS.keys()


def test_what_is_validated_is_what_is_described() -> None:
    found = parameters("GET", "/api/vault")
    bounds = parameters("GET", "/api/map/stats")

    assert found["page_size"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert found["order_by"]["schema"] == {"enum": ["created_at", "filename", "status"], "default": "created_at"}
    assert found["status"]["schema"] == {"$ref": "#/components/schemas/Status"}
    assert {name: bound["required"] for name, bound in bounds.items()} == {
        "min_lat": True, "max_lat": True, "min_lng": True, "max_lng": True, "resolution": False,
    }  # fmt: skip
    assert found.keys() == set(vault.VaultQuery.__struct_fields__)


def test_who_may_call_what_is_described() -> None:
    open_to_all = {path for path, item in DOCUMENT["paths"].items() for said in item.values() if "security" not in said}
    socket = find_operation("GET", "/api/upload/ws/updates")

    assert {path for path in open_to_all if path.startswith("/api/auth")} == {
        "/api/auth/signup", "/api/auth/login", "/api/auth/logout",
    }  # fmt: skip
    assert not [
        path for path in open_to_all if path.startswith(("/api/vault", "/api/map", "/api/media", "/api/upload"))
    ]
    assert socket
    assert {"socketToken": []} in socket["security"]


def test_uploads_images_and_the_socket_are_described() -> None:
    upload = find_operation("POST", "/api/upload/files")
    image = find_operation("GET", "/api/media/{id}/image")
    socket = find_operation("GET", "/api/upload/ws/updates")

    assert upload
    assert image
    assert socket
    [form] = upload["requestBody"]["content"].items()
    assert form[0] == "multipart/form-data"
    assert form[1]["schema"]["required"] == [multipart.FIELD]
    assert list(image["responses"]["200"]["content"]) == ["image/*"]
    assert "content" not in image["responses"]["304"]
    frame = DOCUMENT["components"]["schemas"][socket["responses"]["101"]["x-frame"]["$ref"].rpartition("/")[2]]
    assert set(live.MediaStatusUpdate.__struct_fields__) | {"type"} == set(frame["required"])


@pytest.mark.parametrize(
    ("status", "headers", "content", "fault"),
    [
        (200, {}, b"{}", "missing"),
        (418, {}, b"{}", "not announced"),
        (200, {"X-Request-ID": "r", "Content-Type": "text/plain"}, b"{}", "is not application/json"),
        (200, {"X-Request-ID": "r", "Content-Type": "application/json"}, b'{"message": 7}', "message"),
        (200, {"X-Request-ID": "r", "Content-Type": "application/json"}, b'{"message": "ok"}', None),
    ],
)
def test_an_answer_that_is_not_as_described_fails_whatever_test_gets_it(
    status: int, headers: dict[str, str], content: bytes, fault: str | None
) -> None:
    operation = find_operation("GET", "/")
    assert operation

    found = find_fault(operation, status, headers, content)

    assert (found is None) if fault is None else (found is not None and fault in found)


async def test_the_test_client_holds_every_answer_to_the_document(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOCUMENT["paths"]["/livez"]["get"]["responses"], "200", {"$ref": "#/components/responses/Gone"})
    monkeypatch.setitem(DOCUMENT["components"]["responses"], "Gone", {"headers": {"X-None": {}}})

    with pytest.raises(BreaksTheContract):
        await site.client.get("/livez")

    assert hold_to_contract in site.client.session._middlewares


async def test_the_document_is_served_as_it_was_made(site: Site) -> None:
    answer = await site.client.get("/api/openapi.json")

    assert (answer.status, answer.content_type) == (200, "application/json")
    assert await answer.json() == DOCUMENT


async def test_the_page_runs_under_its_policy_and_asks_nobody_else(site: Site) -> None:
    answer = await site.client.get("/api/docs")
    page = await answer.text()
    policy = answer.headers["Content-Security-Policy"]

    assert (answer.status, answer.content_type) == (200, "text/html")
    for kind in ("style", "script"):
        [text] = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(| style=| on[a-z]+=", page)
