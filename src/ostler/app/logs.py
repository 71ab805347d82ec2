"""Logs of the processes that stay: one line each on standard error, readable for people, JSON when asked for."""

import logging
import os
import sys

import structlog


def set_up(level: str) -> None:
    """Configure logging, once for a process. `OSTLER_LOG=json` gives JSON lines. Prompts are never logged."""
    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if os.environ.get("OSTLER_LOG") == "json" else plain
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
