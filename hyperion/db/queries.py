"""Named queries from the .sql file beside a module."""

import re
from importlib import resources

_HEADER = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


class Queries:
    """The queries of one file, as attributes: `SQL.claim` is the text under `-- name: claim`."""

    def __init__(self, source: str, text: str) -> None:
        parts = _HEADER.split(text)
        names = parts[1::2]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"{source} names {', '.join(sorted(repeated))} twice")
        self._source = source
        self._queries: dict[str, str] = dict(
            zip(names, (body.strip().removesuffix(";") for body in parts[2::2]), strict=True)
        )

    def __getattr__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(f"{self._source} has no query named {name}") from None

    def items(self) -> list[tuple[str, str]]:
        """List (name, text) of every query."""
        return list(self._queries.items())


def load_queries(package: str, file: str) -> Queries:
    """Load `file` (say `"tasks.sql"`) that lies in `package`."""
    return Queries(f"{package}/{file}", resources.files(package).joinpath(file).read_text(encoding="utf-8"))
