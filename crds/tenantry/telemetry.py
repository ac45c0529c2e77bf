"""Logs: one JSON object a line on stderr, for our loggers and for those of the libraries."""

import logging
import sys

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import Processor

__all__ = ["configure_logging", "get_logger"]

_SHARED: list[Processor] = [
    structlog.stdlib.add_logger_name,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", key="ts"),
    structlog.processors.dict_tracebacks,
]


def configure_logging(level: int = logging.INFO) -> None:
    """Send every log record of the process to stderr as JSON: ts, level, logger, msg, then the event's own keys."""
    rename: Processor = structlog.processors.EventRenamer("msg")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                rename,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger(name: str) -> BoundLogger:
    """Return the logger of a module: `log.info("text", tenant=name)`."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger
