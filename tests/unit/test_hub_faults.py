"""What the Hub's refusals mean, by status and text."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from hyperion.errors import BatchRefused, StorePaused
from hyperion.media.store.hub_faults import Answer, HubUnreachable, asked_wait_s, fault_of, verdict

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def answer(status: int, text: str = "", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, text)


@pytest.mark.parametrize(
    ("status", "state", "is_unclear"),
    [
        (401, "refused", False),
        (403, "refused", False),
        (404, "away", False),
        (409, "away", False),
        (412, "away", False),
        (429, "throttled", False),
        (500, "away", True),
        (502, "away", True),
        (503, "away", True),
    ],
)
def test_a_status_says_whether_to_wait_or_to_mend_and_whether_it_may_have_taken_place(
    status: int, state: str, is_unclear: bool
) -> None:
    fault = verdict(answer(status), now=NOW)

    assert isinstance(fault, StorePaused)
    assert (fault.state, fault.is_unclear) == (state, is_unclear)


@pytest.mark.parametrize(
    ("status", "is_too_large", "is_unclear"), [(413, True, False), (504, True, True), (400, False, False)]
)
def test_what_is_too_much_or_spoilt_is_refused_as_a_batch(status: int, is_too_large: bool, is_unclear: bool) -> None:
    fault = verdict(answer(status), now=NOW)

    assert isinstance(fault, BatchRefused)
    assert (fault.is_too_large, fault.is_unclear) == (is_too_large, is_unclear)


@pytest.mark.parametrize(
    ("given", "wait_s"),
    [
        (answer(429, retry_after="7"), 7.0),
        (answer(429, retry_after="Fri, 01 May 2026 12:01:30 GMT"), 90.0),
        (answer(429, retry_after="Fri, 01 May 2026 11:00:00 GMT"), 0.0),
        (answer(429, retry_after="soon"), None),
        (answer(429, retry_after="²"), None),
        (answer(429, retry_after="-5"), None),
        (answer(429, retry_after="Fri, 01 May 2026 15:01:30 GMT", date="Fri, 01 May 2026 15:00:00 GMT"), 90.0),
        (answer(429, retry_after="Fri, 01 May 2026 12:01:30 GMT", date="now"), 90.0),
        (answer(429, ratelimit='"api";r=0;t=55'), 55.0),
        (answer(429, ratelimit='"api";r=3;t=55'), None),
        (answer(429, "You can retry this action in 43 minutes."), 43 * 60.0),
        (answer(429, "Try again in about 1 hour."), 3600.0),
        (answer(429, "Retry after 55 seconds (0/500)."), 55.0),
        (answer(429, "Try again in an hour"), 3600.0),
        (answer(429, "no idea"), None),
        (answer(429, "in 2 minutes", retry_after="7", ratelimit='"api";r=0;t=300'), 300.0),
    ],
)
def test_of_the_waits_that_an_answer_names_the_longest_counts(given: Answer, wait_s: float | None) -> None:
    assert asked_wait_s(given, now=NOW) == wait_s


def test_the_answer_is_found_wherever_it_stands_in_the_chain_of_causes() -> None:
    cause = OSError("429")
    cause.response = SimpleNamespace(status_code=429, headers={"Retry-After": "9"})  # type: ignore[attr-defined]
    error = RuntimeError("Error while uploading 'a.jpg' to the Hub.")
    error.__cause__ = cause

    fault = fault_of(error, now=NOW)

    assert isinstance(fault, StorePaused)
    assert (fault.state, fault.wait_s) == ("throttled", 9.0)


@pytest.mark.parametrize(
    "error",
    [HubUnreachable("no route"), ConnectionError("xet"), TimeoutError("slow"), json.JSONDecodeError("x", "", 0)],
)
def test_without_an_answer_nobody_knows_what_took_place(error: Exception) -> None:
    fault = fault_of(error, now=NOW)

    assert isinstance(fault, StorePaused)
    assert (fault.state, fault.is_unclear) == ("away", True)


def test_what_is_not_the_hubs_doing_is_nobody_elses_fault() -> None:
    assert fault_of(ValueError("a bug"), now=NOW) is None


def test_a_long_answer_is_told_as_one_bounded_line() -> None:
    fault = verdict(answer(502, "<html>\n" * 1000), now=NOW)

    assert "\n" not in str(fault)
    assert len(str(fault)) <= 300
