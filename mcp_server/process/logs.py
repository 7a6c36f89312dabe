"""Logs: one JSON object a line on stderr, with secrets and personal data left out. stdout belongs to the protocol."""

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

_SECRET_NAMES = re.compile(r"token|password|secret|authorization|cookie|api_?key|database_url", re.IGNORECASE)
_USER = re.compile(r"://[^/\s:@]*:")
_BEARER = re.compile(r"(Bearer\s+)\S+", re.IGNORECASE)
_WORD = re.compile(r"\S+")
# Every word is matched as a whole, address or not: trying again from each of its letters would take quadratic time.
_EMAIL = re.compile(r"([^\s@<>\"'\]]+@[^\s@<>\"']+\.[^\s@<>\"',;:)]+)|[^\s@<>\"'\]]+")

# The attributes of every record; the rest are the facts that the caller gave as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str) -> None:
    """Sends every log record of `level` and above to stderr. Called once, before the server is built."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonLines(logging.Formatter):
    """A record as one line of JSON: event, level, logger, timestamp, its facts, and the exception's trace."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return json.dumps(redact(facts), default=_shown)


def redact(facts: Mapping[str, object]) -> dict[str, object]:
    """Returns the same facts without what must not be kept: secrets by name or by shape, and email addresses, at any
    depth."""
    return {
        _clean_text(name): "[redacted]" if _SECRET_NAMES.search(name) else _clean(value)
        for name, value in facts.items()
    }


def _clean(value: object) -> object:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, Mapping):
        return redact({str(name): part for name, part in cast("Mapping[Any, Any]", value).items()})
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(part) for part in cast("Iterable[object]", value)]
    return value


def _clean_text(text: str) -> str:
    if "://" in text and "@" in text:
        text = _WORD.sub(lambda word: _without_password(word[0]), text)
    text = _BEARER.sub(r"\1[redacted]", text)
    return _EMAIL.sub(lambda word: "[email]" if word[1] else word[0], text) if "@" in text else text


def _without_password(word: str) -> str:
    """Hides everything up to the last @ of the word: a password may contain an unencoded one."""
    end = word.rfind("@")
    user = _USER.search(word, 0, max(end, 0))
    return f"{word[: user.end()]}[redacted]{word[end:]}" if user and user.end() < end else word


def _shown(value: object) -> str:
    """Returns what JSON has no word for."""
    return _clean_text(str(value))
