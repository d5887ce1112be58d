"""What a log line must be, whatever a client sends: JSON on one line, without secrets."""

import json
import re

SECRETS = re.compile(
    r"a long password"  # every test's
    r"|0123456789abcdef0123456789abcdef"  # the key that signs
    r"|access_token="
    r"|eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+"  # a token
    r"|\$2b\$\d\d\$"  # a hash
)


def harm_in(lines: str) -> list[str]:
    """List what is wrong with printed log lines."""
    faults = []
    for line in lines.removesuffix("\n").split("\n") if lines else []:
        if not _is_json(line):
            faults.append(f"no JSON on one line: {line}")
        elif found := SECRETS.search(line):
            faults.append(f"{found[0]} in {line}")
    return faults


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict) and "\r" not in line
    except ValueError:
        return False
