"""One run: start a whole system, let the fuzzer at it, see that nothing but answers came of it."""

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hyperion.db.embedded import EmbeddedPostgres
from tests.lifecycle.tree import ROOT, Tree, User
from tests.servers import quick_folder

CONFIG = Path(__file__).with_name("schemathesis.toml")
DATABASE = "fuzz"
PHOTOS = 10
SHARE_AS_NOBODY = 0.25  # most of what there is to find is behind the sign-in
LOGGED_FAILURES = ("request.failed", "NOT JSON")


@dataclass
class Report:
    """What a run found. `transcript` is what the fuzzer wrote, with a curl command for each failure."""

    seed: int
    transcript: str = ""
    violations: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Say how it went; of a failure everything."""
        if not self.violations:
            return "\n".join(line for line in self.transcript.splitlines() if " passed" in line or "fuzz:" in line)
        return "\n".join([self.transcript, *(f"violated: {what}" for what in self.violations), f"seed {self.seed}"])


async def run(*, seconds: int, seed: int, binaries: Path | None = None) -> Report:
    """Fuzz a system of its own for so long, first as a user, then as nobody."""
    report = Report(seed)
    with tempfile.TemporaryDirectory(prefix="hyperion-fuzz-", dir=quick_folder()) as name:
        folder = Path(name).resolve()
        (folder / "node").mkdir()
        postgres = EmbeddedPostgres(folder / "server", binaries=binaries, durable=False)
        postgres.start()
        # The fuzzer comes from ever other addresses; see hooks.py.
        tree = Tree(postgres.ensure_database(DATABASE), folder / "node", HYPERION_TRUSTED_HOPS="1")
        try:
            await tree.start()
            async with AsyncExitStack() as stack:
                user, cleaner, bystander = [await stack.enter_async_context(User(tree.base)) for _ in range(3)]
                await _judge(report, tree, bystander, _fuzz_twice(report, tree, folder, seconds, [user, cleaner]))
            if (code := await tree.stop()) != 0:
                report.violations.append(f"the system ended with exit code {code}")
        finally:
            tree.close()
            await asyncio.to_thread(postgres.stop, immediate=True)
    return report


async def _judge(report: Report, tree: Tree, bystander: User, fuzzing: Any) -> None:
    """Fuzz, and compare what must not have changed: somebody else's photos, and all processes."""
    await bystander.until_ready(await bystander.upload(3))
    before = await _belongings(bystander), tree.processes()
    await fuzzing
    after = await _belongings(bystander), tree.processes()
    if after[0] != before[0]:
        report.violations.append("what belongs to somebody else has changed")
    if after[1] != before[1]:
        report.violations.append("a process has died")
    logged = [msgspec.json.encode(line).decode() for event in LOGGED_FAILURES for line in tree.events(event)]
    report.violations += [f"logged: {line}" for line in logged]


async def _belongings(user: User) -> list[Any]:
    return [await user.call("GET", path) for path in ("/api/auth/me", "/api/vault", "/api/map")]


async def _fuzz_twice(report: Report, tree: Tree, folder: Path, seconds: int, users: list[User]) -> None:
    ids = [(await user.call("GET", "/api/auth/me"))["id"] for user in users]
    photos = [media_id for user in users for media_id in await user.upload(PHOTOS)]
    shutil.copy(CONFIG, folder)
    (folder / "photos.dict").write_text("".join(f'"{media_id}"\n' for media_id in photos), encoding="utf-8")
    as_nobody = round(seconds * SHARE_AS_NOBODY)
    await _fuzz(report, tree, folder, seconds - as_nobody, {"FUZZ_USER_ID": ids[0], "FUZZ_CLEANER_ID": ids[1]})
    await _fuzz(report, tree, folder, as_nobody, {})


async def _fuzz(report: Report, tree: Tree, folder: Path, seconds: int, who: dict[str, str]) -> None:
    own = {"PYTHONPATH": str(ROOT), "SECRET_KEY": tree.environ["SECRET_KEY"], "COLUMNS": "120"}
    process = await asyncio.create_subprocess_exec(
        *[str(Path(sys.executable).with_name("schemathesis")), f"--config-file={folder / CONFIG.name}", "run"],
        *["--continue-on-failure", "--no-color", f"--max-time={seconds}", f"--seed={report.seed}"],
        f"{tree.base}/api/openapi.json",
        env={**os.environ, **own, **who},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    report.transcript += f"fuzz: {seconds} s {'signed in' if who else 'as nobody'}\n{output.decode()}\n"
    if process.returncode != 0:
        report.violations.append(f"the fuzzer ended with exit code {process.returncode}")
