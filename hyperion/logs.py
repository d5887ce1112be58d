"""Structured logs: one JSON object a line on stdout, from every process."""

import json
import logging
import sys
from typing import Any

import msgspec

# Where the tools of a developer bring rich, structlog would take it along: 60 modules in every process.
_hides_rich = "rich" not in sys.modules
if _hides_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402
from structlog.typing import EventDict, FilteringBoundLogger, Processor  # noqa: E402

if _hides_rich:
    del sys.modules["rich"]

__all__ = ["bind", "configure", "get_logger", "set_level"]

bind = structlog.contextvars.bind_contextvars
# Without the values of local variables: they hold passwords and photos.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
NOISY = ("asyncio", "aiohttp", "httpcore2", "httpx2", "huggingface_hub", "yoyo", "PIL")


def get_logger() -> FilteringBoundLogger:
    """Return a logger. Events are constant `noun.past_verb` strings; values go in as keywords."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def configure(level: str = "info", *, console: bool | None = None) -> None:
    """Send all logs of this process, the standard library's included, to stdout.

    `console` picks readable colours instead of JSON; it is for a developer's terminal alone.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_to_json)]
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Our own lines do not pass through the standard library, which would cost four times as much: there
    # is a line for every request.
    structlog.configure(
        processors=[_drop_below_level, *shared, *renderers],
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    set_level(level)


def set_level(level: str) -> None:
    """Change the least level that is logged: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())


def _drop_below_level(_logger: Any, method: str, event: EventDict) -> EventDict:
    """End the way of a line that is not to be logged at the present level."""
    if structlog.processors.NAME_TO_LEVEL[method] < logging.getLogger().level:
        raise structlog.DropEvent
    return event


def _to_json(event: Any, **_options: object) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=str).decode()
    except (UnicodeEncodeError, OverflowError):  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(event, default=str)


def _name_foreign(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put a library's free text under `detail`, so that `event` stays one of ours."""
    event["detail"] = event["event"]
    event["event"] = "library.logged"
    event["library"] = event["_record"].name
    return event
