"""The commands `hyperion model` as an operator types them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HYPERION_", "HF_"))}
    environ = own | {"DATABASE_URL": "postgresql://nowhere/x", "SECRET_KEY": "k" * 40, "HYPERION_VAR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "hyperion.cli", "model", *command],
        env=environ | settings, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
