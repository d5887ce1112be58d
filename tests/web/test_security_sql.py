"""SQL in every string that the API takes."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tests.fuzz.run import CONFIG
from tests.web.conftest import PASSWORD, Person
from tests.web.contract import DOCUMENT, resolve

FRAGMENTS = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["dictionaries"]["sql"]["values"]


@dataclass
class Attack:
    """A request with a fragment in one place and something harmless in all others that must be there."""

    method: str
    path: str
    params: dict[str, str] = field(default_factory=dict)
    body: dict[str, str] | None = None

    async def send(self, person: Person) -> int:
        options: dict[str, Any] = {"params": self.params} | ({"json": self.body} if self.body else {})
        answer = await person.site.client.request(self.method, self.path, headers=person.headers, **options)
        return answer.status


def attacks(fragment: str) -> Iterator[Attack]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    yield Attack(method, path.replace(f"{{{parameter['name']}}}", quote(fragment, safe="")))
                elif _is_text(parameter["schema"]):
                    yield Attack(method, path, params={parameter["name"]: fragment})
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                fields = resolve(content["schema"]["$ref"])["properties"]
                for name in [name for name, schema in fields.items() if _is_text(schema)]:
                    harmless = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
                    known = {key: value for key, value in harmless.items() if key in fields}
                    yield Attack(method, path, body=known | {name: fragment})


def _is_text(schema: dict[str, Any]) -> bool:
    if "$ref" in schema:
        return _is_text(resolve(schema["$ref"]))
    choices = schema.get("anyOf", [schema])
    return any(choice.get("type") == "string" or "enum" in choice for choice in choices)


async def test_sql_in_any_string_is_nothing_but_text(ada: Person, bob: Person) -> None:
    """SECURITY 36."""
    await bob.photo()
    before = [await (await bob.get(path)).json() for path in ("/api/auth/me", "/api/vault")]
    chosen = [attack for fragment in FRAGMENTS for attack in attacks(fragment)]

    statuses = {str(attack): await attack.send(ada) for attack in chosen}

    assert {attack: status for attack, status in statuses.items() if status >= 500} == {}
    assert {200, 404, 422} <= set(statuses.values())
    assert [await (await bob.get(path)).json() for path in ("/api/auth/me", "/api/vault")] == before
    assert len(chosen) > 15 * len(FRAGMENTS)
