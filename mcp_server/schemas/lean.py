"""JSON schemas without what a reader does not need: every word of them is read by a model at every start."""

from typing import Any, cast

_NAMED = ("properties", "$defs")


def lean(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema without the titles that pydantic makes of names, and without defaults that are null."""
    return {
        key: {name: lean(part) for name, part in value.items()} if key in _NAMED else _lean_value(value)
        for key, value in schema.items()
        if key != "title" and not (key == "default" and value is None)
    }


def _lean_value(value: object) -> object:
    if isinstance(value, dict):
        return lean(cast("dict[str, Any]", value))
    if isinstance(value, list):
        return [_lean_value(item) for item in cast("list[object]", value)]
    return value
