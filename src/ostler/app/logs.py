"""Logs of the processes that stay: one line each on standard error, readable for people, JSON when asked for.

Prompts and answers are never logged: whoever logs has names, numbers and reasons in hand, and no task.
"""

import logging
import os
import sys
from typing import Any

import msgspec
import structlog


def set_up(level: str, *, json: bool = False) -> None:
    """Configure logging of a process. `OSTLER_LOG=json`, or `json`, gives JSON lines with instants of UTC.

    May be called again: from then on all lines are written that way.
    """
    as_json = json or os.environ.get("OSTLER_LOG") == "json"
    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(serializer=_text) if as_json else plain
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True)
            if as_json
            else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            *(() if as_json else (_one_line_each,)),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        # Loggers that were asked before this call obey it, too; they are few, and never on a path that is hot.
        cache_logger_on_first_use=False,
    )


def _one_line_each(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What others wrote neither steers a terminal nor looks like a line of its own: it is written as Python writes it.

    Spans of several lines are what we log ourselves (`exception`).
    """
    for name, value in line.items():
        if isinstance(value, str) and name != "exception" and not value.isprintable():
            line[name] = repr(value)
    return line


def _text(line: object, **_options: Any) -> str:  # noqa: ANN401 - structlog hands over options of the json module
    return msgspec.json.encode(line, enc_hook=str).decode()
