"""A short run of the fuzzer; `make fuzz` makes long ones."""

from tests.fuzz.run import run
from tests.servers import server_binaries


async def test_no_request_gets_another_answer_than_the_document_says() -> None:
    """SECURITY 36: SQL is in a part of all strings, and what belongs to others stays as it was."""
    report = await run(seconds=8, seed=1, binaries=server_binaries())

    assert not report.violations, report.text()
