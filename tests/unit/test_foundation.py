"""Small parts: logs, named queries, wake-up payloads, the walk of states."""

import io
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperion import errors, logs
from hyperion.db.queries import Queries
from hyperion.media.status import REACHED_FROM, Status, is_legal_walk
from hyperion.queue import retry_delay_s
from hyperion.queue.wakeup import PAYLOAD_LIMIT_BYTES, _joined


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    logs.configure("info")
    return written


def test_a_log_line_is_one_json_object(stdout: io.StringIO) -> None:
    logs.get_logger().info("thing.happened", text="two\nlines", size=3)

    [line] = stdout.getvalue().splitlines()

    assert json.loads(line).items() >= {"event": "thing.happened", "text": "two\nlines", "level": "info"}.items()


def test_a_librarys_line_is_json_too(stdout: io.StringIO) -> None:
    logging.getLogger("some.package").warning("odd %s", "thing")

    line = json.loads(stdout.getvalue())

    assert (line["event"], line["detail"], line["library"]) == ("library.logged", "odd thing", "some.package")


def test_a_traceback_in_the_log_carries_no_values(stdout: io.StringIO) -> None:
    def fail(password: str) -> None:
        raise ValueError("no")

    try:
        fail("hunter2")
    except ValueError:
        logs.get_logger().exception("thing.failed")

    assert "ValueError" in stdout.getvalue()
    assert "hunter2" not in stdout.getvalue()


def test_the_level_can_be_changed_while_running(stdout: io.StringIO) -> None:
    logs.set_level("error")

    logs.get_logger().info("thing.happened")

    assert stdout.getvalue() == ""


def test_a_query_is_found_by_its_name() -> None:
    queries = Queries("x.sql", "-- name: one\n-- $1 nothing\nSELECT 1;\n\n-- name: two\nSELECT 2\n")

    assert (queries.one, queries.two) == ("-- $1 nothing\nSELECT 1", "SELECT 2")


def test_an_unknown_query_and_a_name_used_twice_are_said() -> None:
    with pytest.raises(AttributeError, match=r"x\.sql has no query named three"):
        _ = Queries("x.sql", "-- name: one\nSELECT 1").three
    with pytest.raises(ValueError, match="twice"):
        Queries("x.sql", "-- name: one\nSELECT 1\n-- name: one\nSELECT 2")


@given(st.sets(st.text("abc-_", min_size=1, max_size=40), min_size=1, max_size=600))
def test_every_payload_arrives_and_no_notification_is_too_long(payloads: set[str]) -> None:
    texts = _joined(payloads)

    assert {part for text in texts for part in text.split(",")} == payloads
    assert all(len(text.encode()) <= PAYLOAD_LIMIT_BYTES for text in texts)


def test_look_at_everything_outweighs_any_payload() -> None:
    assert _joined({"", "a"}) == [""]


@given(st.integers(1, 100), st.floats(0, 1))
def test_a_retry_waits_between_one_second_and_five_minutes(attempt: int, chance: float) -> None:
    assert 1 <= retry_delay_s(attempt, chance=chance) <= 300


@given(st.lists(st.sampled_from(Status), max_size=8))
def test_a_walk_is_legal_if_every_step_is(statuses: list[Status]) -> None:
    walk = [Status.PENDING]
    for status in statuses:
        if walk[-1] in REACHED_FROM[status]:
            walk.append(status)

    assert is_legal_walk(walk)
    assert not is_legal_walk([*walk, walk[-1]])


def test_a_walk_begins_pending() -> None:
    assert not is_legal_walk([])
    assert not is_legal_walk([Status.UPLOADED])


def test_the_drawing_of_the_errors_names_them_all() -> None:
    drawn = {line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line}
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

    assert drawn == classes - {"HyperionError"}
