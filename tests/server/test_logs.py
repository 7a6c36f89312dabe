"""What a line of the log holds, and what it never holds."""

import json
import logging
from typing import Any
from uuid import UUID

import pytest

from mcp_server.process.logs import JsonLines

PASSWORD = "p@ss/w:rd@1"  # as people write it, not encoded


def line(message: str, *arguments: object, **facts: object) -> dict[str, Any]:
    record = logging.getLogger("here").makeRecord("here", logging.WARNING, __file__, 1, message, arguments, None)
    vars(record).update(facts)
    return json.loads(JsonLines().format(record))


def test_a_record_is_one_line_of_json_with_its_facts() -> None:
    written = line("took %d s", 3, seconds=3.25, transaction=None, id=UUID(int=1))
    assert written.pop("timestamp").endswith("+00:00")
    assert written == {
        "event": "took 3 s",
        "level": "warning",
        "logger": "here",
        "seconds": 3.25,
        "transaction": None,
        "id": str(UUID(int=1)),
    }


def test_an_exception_is_a_fact_of_its_line() -> None:
    cause = ValueError("no Ada <ada@example.com>")
    record = logging.LogRecord("here", logging.ERROR, __file__, 1, "failed", (), (ValueError, cause, None))
    text = JsonLines().format(record)
    assert text.count("\n") == 0
    assert json.loads(text)["exception"] == "ValueError: no Ada <[email]>"


@pytest.mark.parametrize(
    ("facts", "kept"),
    [
        ({"url": f"postgresql://ann:{PASSWORD}@db.example.com/x"}, "postgresql://ann:[redacted]@db.example.com/x"),
        ({"url": f"at postgresql://:{PASSWORD}@db.example.com now"}, "at postgresql://:[redacted]@db.example.com now"),
        ({"header": f"Bearer {PASSWORD}"}, "Bearer [redacted]"),
        ({"api_key": PASSWORD}, "[redacted]"),
        ({"given": {"password": PASSWORD, "to": ["ada@example.com"]}}, {"password": "[redacted]", "to": ["[email]"]}),
        ({"rows": [{"token": PASSWORD}, (f"ftp://x:{PASSWORD}@h",)]}, [{"token": "[redacted]"}, ["ftp://x:[redacted]@h"]]),
        ({"counts": {"ada@example.com": 2}}, {"[email]": 2}),
    ],
)  # fmt: skip
def test_secrets_and_addresses_are_left_out_at_any_depth(facts: dict[str, object], kept: object) -> None:
    written = line("said", **facts)
    assert written[next(iter(facts))] == kept
    assert PASSWORD not in json.dumps(written)


def test_an_object_in_a_list_is_shown_without_its_secret() -> None:
    assert line("failed", causes=[ValueError(f"postgresql://ann:{PASSWORD}@h/x")])["causes"] == [
        "postgresql://ann:[redacted]@h/x"
    ]
