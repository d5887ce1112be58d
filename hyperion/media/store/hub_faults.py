"""What the Hub's client raises, sorted by what to do about it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from hyperion.errors import BatchRefused, StorePaused

DETAIL_MAX = 300
BUSY_WAIT_S = 2.0
_REFUSED = {401, 402, 403, 451}
_TOO_LARGE = {413, 504}
_SPOILT = {400, 415, 422}
_BUSY = {409, 412}
_UNIT_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_IN_WORDS = re.compile(r"(?:\bin|\bafter)\s+(?:about\s+)?(an?|\d+)\s*(second|minute|hour|day)s?\b", re.IGNORECASE)
_RATE_LIMIT = re.compile(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)")
_XET_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3})\b")
_CLIENTS = ("httpx2", "httpcore2")


class HubUnreachable(ConnectionError):
    """No answer came, or only a part of it. What was asked for may have taken place."""


@dataclass(frozen=True)
class Answer:
    """An answer of the Hub that is no success; header names in small letters."""

    status: int
    headers: Mapping[str, str]
    text: str


def fault_of(error: Exception, *, now: datetime | None = None) -> StorePaused | BatchRefused | None:
    """Say what an error of the client means for the store; None: it is not the Hub's doing.

    Its classes say little (a 401 looks like a missing repository, a failed upload is a
    RuntimeError), so the status is what counts, wherever in the chain of causes it stands.
    """
    chain = list(_causes(error))
    for cause in chain:
        if (answer := _answer_of(cause)) is not None:
            return verdict(answer, now=now or datetime.now(UTC))
    if any(isinstance(cause, ConnectionError | TimeoutError) or _is_clients(cause) for cause in chain):
        return StorePaused("away", _told(f"{type(error).__name__}: {error}"), is_unclear=True)
    if any(type(cause).__name__ == "JSONDecodeError" for cause in chain):
        return StorePaused("away", "the answer is not the Hub's", is_unclear=True)
    return None


def verdict(answer: Answer, *, now: datetime) -> StorePaused | BatchRefused:
    """Say what an answer means: wait, mend the token, or send less."""
    status = answer.status
    detail = _told(f"{status} {_phrase(status)}: {answer.text}")
    wait_s = asked_wait_s(answer, now=now)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return StorePaused("throttled", detail, wait_s=wait_s)
    if status in _REFUSED:
        return StorePaused("refused", detail)
    if status in _TOO_LARGE:
        return BatchRefused(detail, is_too_large=True, is_unclear=status == HTTPStatus.GATEWAY_TIMEOUT)
    if status in _SPOILT:
        return BatchRefused(detail, is_too_large=False)
    if status in _BUSY:
        return StorePaused("away", detail, wait_s=BUSY_WAIT_S)
    return StorePaused("away", detail, wait_s=wait_s, is_unclear=status >= HTTPStatus.INTERNAL_SERVER_ERROR)


def asked_wait_s(answer: Answer, *, now: datetime) -> float | None:
    """Return the longest wait in seconds that an answer asks for, None where it does not say.

    It may stand in Retry-After (seconds or a date), in RateLimit, or only in the text: "in 43 minutes".
    """
    waits = [float(seconds) for seconds in _RATE_LIMIT.findall(answer.headers.get("ratelimit", ""))]
    retry_after = answer.headers.get("retry-after", "").strip()
    if retry_after.isdecimal():
        waits.append(float(retry_after))
    elif retry_after:
        # By the Hub's own clock where it says how late it is: ours may be wrong.
        waits += _until(retry_after, _moment(answer.headers.get("date", "")) or now)
    for count, unit in _IN_WORDS.findall(answer.text):
        waits.append((1.0 if count.lower().startswith("a") else float(count)) * _UNIT_S[unit.lower()])
    return max(waits, default=None)


def _until(date: str, now: datetime) -> list[float]:
    moment = _moment(date)
    return [] if moment is None else [max(0.0, (moment - now).total_seconds())]


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _answer_of(error: BaseException) -> Answer | None:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if response is None or not isinstance(status, int):
        # hf_xet raises the builtin ConnectionError for everything; the status is in its text alone.
        told = _XET_STATUS.search(str(error))
        return Answer(int(told[1]), {}, "said the store behind xet") if told else None
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status, headers, _text_of(error, headers))


def _text_of(error: BaseException, headers: Mapping[str, str]) -> str:
    said = getattr(error, "server_message", None) or headers.get("x-error-message") or ""
    return str(said)


def _is_clients(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _CLIENTS


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _told(text: str) -> str:
    """Return a text as one line of bounded length."""
    line = " ".join(text.split()).rstrip(": ")
    return line if len(line) <= DETAIL_MAX else line[: DETAIL_MAX - 1] + "…"
