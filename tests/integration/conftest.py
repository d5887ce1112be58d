"""What tests of the actors share."""

from pathlib import Path

import pytest

from hyperion.settings import Settings, load


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return load(
        {
            "DATABASE_URL": database_url,
            "SECRET_KEY": "k" * 32,
            "HYPERION_VAR": str(tmp_path),
            "HYPERION_DETECTOR": "simulated",
            "HYPERION_SIMULATED_EXTRACTION_S": "0",
            "HYPERION_SIMULATED_PROCESSING_S": "0",
        }
    )
