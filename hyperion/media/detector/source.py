"""Where a model's file comes from: the package, a path, or the Hugging Face Hub."""

import hashlib
import os
import re
from pathlib import Path

from hyperion.errors import BadConfiguration
from hyperion.settings import Settings

SHIPPED = Path(__file__).parent / "litter" / "litter.onnx"
SHIPPED_SHA256 = "2c58eb2270edc2b954893332d9602e4bf71e46fedf6f805398b9d8459ff09f3b"

_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[\w./+-]+\.onnx)(?:@(?P<revision>[\w./-]+))?")


def is_shipped(settings: Settings) -> bool:
    """Tell whether the model is the one that comes with the package."""
    return not settings.model or Path(settings.model) == SHIPPED


def is_as_shipped(settings: Settings) -> bool:
    """Tell whether the model that comes with the package is used as it comes, so that nothing can be wrong."""
    told_otherwise = (settings.model_head, settings.model_classes, settings.thresholds, settings.model_labels != Path())
    return is_shipped(settings) and not any(told_otherwise)


def locate(settings: Settings) -> Path:
    """Return the model's file, fetched into `models` under HYPERION_VAR if it lies on the Hub.

    Raises BadConfiguration where there is none, or its SHA-256 is not the expected one.
    """
    if is_shipped(settings):
        return _verified(SHIPPED, settings.model_sha256 or SHIPPED_SHA256)
    if settings.model.startswith("hf://"):
        path = _fetched(settings.model, settings.var_dir / "models")
    else:
        path = Path(settings.model).absolute()
    return _verified(path, settings.model_sha256)


def _verified(path: Path, sha256: str) -> Path:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadConfiguration([f"the model cannot be read from {path}: {error.strerror}"]) from error
    if sha256 and found != sha256:
        raise BadConfiguration([f"the model in {path} has the SHA-256 {found}, not {sha256}"])
    return path


def _fetched(reference: str, cache: Path) -> Path:
    found = _HUB.fullmatch(reference)
    if not found:
        raise BadConfiguration([f"HYPERION_MODEL must read hf://owner/repo/file.onnx@revision (is {reference!r})"])
    # Read when it is imported: no statistics to its makers, and plain HTTPS.
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    from huggingface_hub import hf_hub_download  # noqa: PLC0415  (heavy, and rarely needed)

    try:
        path = hf_hub_download(found["repo"], found["file"], revision=found["revision"], cache_dir=cache)
    except Exception as error:  # it raises what its HTTP client does, and errors of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadConfiguration([f"the model {reference} cannot be fetched: {reason}"]) from error
    return Path(path)
