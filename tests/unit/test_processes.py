"""What each process of the tree has in memory: nothing that it does not use."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the supervisor alone needs, or an actor on first use; ten workers would pay for each of them.
LATE = {"huggingface_hub", "httpx2", "onnxruntime", "psycopg", "yoyo", "reverse_geocode", "rich"}
FORKED = "import hyperion.actors.preload"


def modules_after(code: str, **environ: str) -> set[str]:
    """Return what a fresh interpreter has imported after `code`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HYPERION_")}
    return set(printed_by(f"{code}\nimport sys; print(*sys.modules)", clean | environ).split())


def printed_by(code: str, environ: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_supervisor_has_neither_the_actors_code_nor_what_opens_photos() -> None:
    modules = modules_after("import hyperion.actors.boot")

    assert not modules & {
        *LATE,
        "numpy",
        "PIL",
        "pi_heif",
        "aiohttp",
        "uvloop",
        "hyperion.actors.entry",
        "hyperion.web",
    }


def test_actors_without_a_net_have_nothing_before_the_fork_that_few_of_them_need() -> None:
    modules = modules_after(FORKED, HYPERION_DETECTOR="simulated")

    assert not modules & {*LATE, "hyperion.actors.supervisor", "hyperion.db.embedded"}


def test_actors_with_a_net_have_its_runtime_before_the_fork() -> None:
    modules = modules_after(FORKED)

    assert modules >= {"onnxruntime", "numpy"}


def test_the_entry_point_which_every_actor_runs_again_brings_nothing_new() -> None:
    rerun = f"{FORKED}, multiprocessing.spawn\nimport runpy; runpy.run_path('supervisor.py', run_name='__mp_main__')"

    before = modules_after(f"{FORKED}, multiprocessing.spawn, runpy", HYPERION_DETECTOR="simulated")
    after = modules_after(rerun, HYPERION_DETECTOR="simulated")

    assert after - before == set()
