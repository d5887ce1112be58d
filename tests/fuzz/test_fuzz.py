"""A short run of the fuzzer; `make fuzz` makes long ones."""

import pytest

from tests.conftest import server_binaries
from tests.fuzz.run import run


@pytest.mark.parametrize(("signed_in", "seconds"), [(True, 12), (False, 6)], ids=["signed in", "as nobody"])
async def test_no_request_gets_another_answer_than_the_document_says(signed_in: bool, seconds: int) -> None:
    """SECURITY 36: SQL is in a part of all strings, and what belongs to others stays as it was."""
    report = await run(seconds=seconds, seed=1, signed_in=signed_in, binaries=server_binaries())

    assert not report.violations, report.text()
