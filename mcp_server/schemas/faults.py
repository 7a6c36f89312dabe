"""Errors about arguments, for their sender: the argument as it was written, and what to pass instead."""

from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from db.domain import texts

WHOLE: Final = "must be a whole number"
_FLAG: Final = "must be true or false"
_OBJECT: Final = "must be an object"
_ID: Final = "must be an id (a UUID), as answers and lists give it"
MOMENT: Final = "must be a moment with its zone, such as 2026-11-02T09:00:00+01:00"
DAY: Final = "must be a day such as 2026-11-02"

# By the types of pydantic's errors, whose own texts mention Python and its validators.
_RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "missing": "is missing",
        "extra_forbidden": "is not known: take it out, or correct its name",
        "string_type": "must be text",
        "string_unicode": "holds half of a surrogate pair, which is not a character: take it out",
        "int_type": WHOLE,
        "int_parsing": WHOLE,
        "int_parsing_size": WHOLE,
        "int_from_float": WHOLE,
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "finite_number": "must be a finite number",
        "bool_type": _FLAG,
        "bool_parsing": _FLAG,
        "uuid_type": _ID,
        "uuid_parsing": _ID,
        "list_type": "must be a list",
        "dict_type": _OBJECT,
        "model_type": _OBJECT,
        "model_attributes_type": _OBJECT,
        "greater_than": "must be more than {gt}",
        "greater_than_equal": "must be at least {ge}",
        "less_than": "must be less than {lt}",
        "less_than_equal": "must be at most {le}",
        "enum": "must be {expected}",
        "literal_error": "must be {expected}",
        "datetime_type": MOMENT,
        "datetime_parsing": MOMENT,
        "datetime_from_date_parsing": MOMENT,
        "datetime_object_invalid": MOMENT,
        "timezone_aware": MOMENT,
        "date_type": DAY,
        "date_parsing": DAY,
        "date_from_datetime_parsing": DAY,
        "date_from_datetime_inexact": DAY,
    }
)
_NAME_MAX: Final = 100
_SHOWN: Final = 50
_LOOKED_AT: Final = 1_000


def explain(error: ValidationError) -> list[str]:
    """Returns a line for each fault: the field and the rule, never the value. Lists the first faults, and says how many
    more there are."""
    lines = list(dict.fromkeys(islice(_lines(error), _LOOKED_AT)))
    more = max(len(lines) - _SHOWN, 0) + max(error.error_count() - _LOOKED_AT, 0)
    return [*lines[:_SHOWN], f"and {more:,} more faults"] if more else lines


def _lines(error: ValidationError) -> Iterator[str]:
    for line in error.errors(include_url=False, include_input=False):
        field = ".".join(_part(part) for part in line["loc"] if part != "[key]")
        rule = _rule(line["type"], line["msg"], line.get("ctx", {}))
        yield f"{field}: {rule}" if field else rule


def _part(part: int | str) -> str:
    """Returns one part of an argument's path, shortened and made safe, since clients can send any name."""
    text = texts.one_line(texts.storable_part(str(part)))
    return text if len(text) <= _NAME_MAX else text[:_NAME_MAX] + "..."


def _rule(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind.endswith(("too_short", "too_long")):
        return _length(context)
    if kind in _RULES:
        return _RULES[kind].format(**context)
    return message.removeprefix("Value error, ").replace("Input should", "must", 1)


def _length(context: Mapping[str, Any]) -> str:
    if context.get("min_length") == 1:
        return "must not be empty"
    # pydantic calls a text "Value" if it checks the length after a check of ours.
    noun = "characters" if context.get("field_type", "Value") == "Value" else "entries"
    if "min_length" in context:
        return f"must have at least {context['min_length']} {noun}"
    return f"must have at most {context['max_length']} {noun}"
