"""The rows of what an attacker gets: that each has a test, and those about the process and its log."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.web.conftest import PASSWORD, Printed, Site
from tests.web.harmless import harm_in

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS = range(1, 37)


def rows_tested() -> dict[int, list[str]]:
    """Read the numbers in the docstrings of the security tests."""
    found: dict[int, list[str]] = {}
    for path in sorted(HERE.glob("test_security_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in re.findall(r"[Rr]ow (\d+)", ast.get_docstring(node) or ""):
                    found.setdefault(int(number), []).append(node.name)
    return found


def test_every_row_has_a_test() -> None:
    assert sorted(rows_tested()) == list(ROWS)


@pytest.mark.parametrize(("key", "reason"), [(None, "SECRET_KEY is required"), ("x" * 31, "at least 32 bytes")])
def test_without_a_key_that_is_long_enough_nothing_starts(key: str | None, reason: str, tmp_path: Path) -> None:
    """Row 34."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HYPERION_")}
    environ |= {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"} | ({"SECRET_KEY": key} if key else {})

    command = [sys.executable, str(ROOT / "supervisor.py")]
    ended = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 78
    assert reason in ended.stdout + ended.stderr
    assert "x" * 31 not in ended.stdout + ended.stderr


async def test_no_line_of_the_log_gives_anything_away_or_is_two(site: Site, printed: Printed) -> None:
    """Row 35: and the same is checked after every other test of the web process, of all its lines."""
    token = (await site.user("ada@example.org")).token
    secrets = {"Authorization": f"Bearer {token}", "Cookie": f"access_token={token}"}
    await site.client.get(f"/{token}?token={token}", headers=secrets)
    await site.client.get(f"/api/map/{token}/logs", headers=secrets)
    await site.client.post("/api/auth/login", data=f'{{"password": "{PASSWORD}"', headers=secrets)
    await site.client.post("/api/auth/login", json={"email": "x\r\nevent: y", "password": [PASSWORD]})
    await site.db.execute("DROP TABLE media CASCADE")
    await site.client.get("/api/vault", params={"search": f"{PASSWORD}\r\n"}, headers=secrets)

    assert printed().count("request.served") >= 7
    assert printed().count("request.failed") == 1
    assert harm_in(printed()) == []


@pytest.mark.parametrize("line", ['{"a": 1}\r', "text", '{"a": "access_token=x"}', '{"a": "a long password"}'])
def test_a_harmful_line_is_found(line: str) -> None:
    assert len(harm_in(f'{{"event": "x"}}\n{line}\n')) == 1
