"""Every query in every .sql file is one that the migrated schema understands."""

import re
from pathlib import Path

import hyperion
from hyperion.db import Database
from hyperion.db.queries import Queries

ROOT = Path(hyperion.__file__).parent
QUERIES = {
    f"{path.relative_to(ROOT)}:{name}": text
    for path in sorted(ROOT.rglob("*.sql"))
    for name, text in Queries(str(path), path.read_text(encoding="utf-8")).items()
}


async def test_every_query_is_prepared_against_the_migrated_schema(db: Database) -> None:
    faults = {}

    async with db.connection() as connection:
        for name, query in QUERIES.items():
            try:
                await connection.prepare(query)
            except Exception as error:  # noqa: BLE001  (any refusal is the finding)
                faults[name] = str(error)

    assert not faults


def test_every_query_writes_its_keywords_in_capitals() -> None:
    keywords = re.compile(r"\b(select|from|where|insert|update|delete|order by|limit|returning|join)\b")
    texts = {name: re.sub(r"--.*|'[^']*'", "", query) for name, query in QUERIES.items()}

    assert not {name: found for name, text in texts.items() if (found := keywords.findall(text))}
