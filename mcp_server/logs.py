"""Logs: one JSON object a line on stderr, with secrets and personal data left out. stdout belongs to the protocol."""

import logging
import re
import sys
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"token|password|secret|authorization|cookie|api_?key|database_url", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]+):[^@\s]+@")
_BEARER = re.compile(r"(Bearer\s+)\S+", re.IGNORECASE)
_EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@<>\"',;:)]+")


def configure(level: str) -> None:
    """Send every log record of `level` and above to stderr. Called once, before the server is built."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)


def redact(_logger: object, _method: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The same facts without what must not be kept: secrets by name or by shape, and email addresses."""
    return {name: "[redacted]" if _SECRET_NAMES.search(name) else _clean(value) for name, value in facts.items()}


def _clean(value: Any) -> Any:  # noqa: ANN401  a fact is any value
    if not isinstance(value, str):
        return value
    text = _URL_PASSWORD.sub(r"\1:[redacted]@", value)
    return _EMAIL.sub("[email]", _BEARER.sub(r"\1[redacted]", text))
