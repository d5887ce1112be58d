"""Settings are read once, checked whole, and refused with every fault named."""

import stat
from pathlib import Path

import pytest

from hyperion.errors import BadConfiguration
from hyperion.settings import Settings, documented, load

GOOD = {"DATABASE_URL": "postgresql://u:p@db/x", "SECRET_KEY": "k" * 32}


def faults(environ: dict[str, str]) -> str:
    with pytest.raises(BadConfiguration) as caught:
        load(environ)
    return "\n".join(caught.value.faults)


def test_two_values_are_enough() -> None:
    settings = load(GOOD)

    assert (settings.port, settings.workers, settings.dev) == (7860, 10, False)


@pytest.mark.parametrize("missing", GOOD)
def test_what_is_required_is_required(missing: str) -> None:
    assert missing in faults({k: v for k, v in GOOD.items() if k != missing})


def test_every_fault_is_named() -> None:
    said = faults(GOOD | {"SECRET_KEY": "x", "HYPERION_PORT": "0", "HYPERION_GRACE_S": "nan", "HYPERION_WORKER": "1"})

    assert "SECRET_KEY must have at least 32 bytes" in said
    assert "HYPERION_PORT must be a whole number from 1 to 65535" in said
    assert "HYPERION_GRACE_S must be a number of seconds" in said
    assert "HYPERION_WORKER is not a setting; did you mean HYPERION_WORKERS?" in said


def test_a_secret_is_never_repeated_in_a_fault_or_a_repr() -> None:
    assert "hunter2" not in faults(GOOD | {"SECRET_KEY": "hunter2"})
    assert "k" * 32 not in repr(load(GOOD))
    assert ":p@" not in repr(load(GOOD))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql+asyncpg://u:p@db/x", "postgresql://u:p@db/x"),
        ("postgres://u@db/x", "postgresql://u@db/x"),
        ("postgresql+asyncpg://u@db/x?ssl=require", "postgresql://u@db/x?sslmode=require"),
        ("postgresql://u@db/x?sslmode=require&channel_binding=require", "postgresql://u@db/x?sslmode=require"),
        ("postgresql://u@/x?host=/tmp/a", "postgresql://u@/x?host=/tmp/a"),
    ],
)
def test_a_database_url_is_taken_in_every_common_spelling(given: str, read: str) -> None:
    assert load(GOOD | {"DATABASE_URL": given}).database_url == read


@pytest.mark.parametrize(
    "name", ["photos", "ada/", "ada/photos/2", "-ada/photos", "ada/a--b", "ada/x..y", "ada/p.git", "ä/b"]
)
def test_a_repository_that_the_hub_cannot_have_is_refused_at_the_start(name: str) -> None:
    assert "HF_REPO_ID must be owner/name" in faults(GOOD | {"HF_TOKEN": "t", "HF_REPO_ID": name})


def test_another_kind_of_database_is_refused() -> None:
    assert "DATABASE_URL must start with postgresql://" in faults(GOOD | {"DATABASE_URL": "mysql://u@db/x"})


def test_port_stands_in_for_hyperion_port() -> None:
    assert load(GOOD | {"PORT": "8080"}).port == 8080
    assert load(GOOD | {"PORT": "8080", "HYPERION_PORT": "9090"}).port == 9090


def test_frontend_urls_lose_their_trailing_slash() -> None:
    assert load(GOOD | {"FRONTEND_URL": "https://a.example/, https://b.example"}).frontend_urls == (
        "https://a.example",
        "https://b.example",
    )


def test_development_makes_a_key_that_only_its_owner_reads_and_keeps_it(tmp_path: Path) -> None:
    first = load({"HYPERION_VAR": str(tmp_path)}, dev=True)
    second = load({"HYPERION_VAR": str(tmp_path)}, dev=True)

    assert len(first.secret_key) >= 32
    assert first.secret_key == second.secret_key
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_development_reads_a_file_that_the_environment_overrules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("# mine\nexport HYPERION_WORKERS=3\nHYPERION_POLL_S='2'\n")
    monkeypatch.setenv("HYPERION_POLL_S", "5")

    settings = load(dev=True)

    assert (settings.workers, settings.poll_s) == (3, 5.0)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load(GOOD).port = 1  # type: ignore[misc]


def test_every_setting_is_documented() -> None:
    assert all(meaning for _, _, meaning in documented())
    assert len(documented()) == len(Settings.__dataclass_fields__) - 1  # all but `dev`
