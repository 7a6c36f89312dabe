"""The schemas that clients are offered. A model reads every word of them at every start, so they hold what it needs to
get a call right the first time; the pydantic models, of which they are made, hold the rest and check it.
"""

from collections.abc import Mapping
from typing import Any, cast

Schema = dict[str, Any]

# Sizes and spellings that nobody misses by accident, or whose description says them: a refusal names the rule.
_UNTOLD = frozenset(
    {"$defs", "title", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "pattern", "propertyNames"}
)
_SAID_BY_NOTHING: dict[str, tuple[object, ...]] = {
    "default": (None, "", {}, []),
    "additionalProperties": (True, {}),
    "format": ("uuid",),
}
_UNLIMITED = 1_000_000


def lean_input(schema: Schema) -> Schema:
    """Returns the arguments of a tool: names, types, enums, ranges, defaults and descriptions, without references.

    Whatever `schema` admits is admitted, but for null in the place of an optional argument, which the server takes.
    """
    return _lean(schema, schema.get("$defs", {}))


def lean_output(schema: Schema) -> Schema:
    """Returns what a tool answers: the names and types of the top level. The answers themselves tell the rest."""
    shapes = schema.get("$defs", {})
    fields = cast("dict[str, Schema]", schema.get("properties", {}))
    required = schema.get("required", ())
    properties = {name: _outline(field, shapes, is_given=name in required) for name, field in fields.items()}
    return {"type": "object", "properties": properties}


def _lean(schema: Schema, shapes: Mapping[str, Schema]) -> Schema:
    schema = _chosen(_resolved(schema, shapes), shapes)
    parts = {key: _lean_part(key, value, shapes) for key, value in schema.items()}
    return {key: value for key, value in parts.items() if _is_told(key, value)}


def _chosen(schema: Schema, shapes: Mapping[str, Schema]) -> Schema:
    """Returns the schema with its alternatives in one: the only one besides null, or the types of those that are no
    more."""
    if "anyOf" not in schema:
        return schema
    options = [_resolved(option, shapes) for option in schema["anyOf"] if option.get("type") != "null"]
    own = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(options) == 1:
        return {**options[0], **own}
    if all(option.keys() <= {"type", "format"} for option in options):
        kinds = list(dict.fromkeys(option["type"] for option in options))
        return {"type": kinds[0] if len(kinds) == 1 else kinds, **own}
    return {**own, "anyOf": options}


def _lean_part(key: str, value: object, shapes: Mapping[str, Schema]) -> object:
    if key == "properties":
        return {name: _lean(part, shapes) for name, part in cast("dict[str, Schema]", value).items()}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _lean(cast("Schema", value), shapes)
    if key == "anyOf":
        return [_lean(part, shapes) for part in cast("list[Schema]", value)]
    return value


def _is_told(key: str, value: object) -> bool:
    if key in ("minimum", "maximum"):
        return isinstance(value, int) and 1 < value < _UNLIMITED
    return key not in _UNTOLD and not any(
        value is silent or value == silent for silent in _SAID_BY_NOTHING.get(key, ())
    )


def _resolved(schema: Schema, shapes: Mapping[str, Schema]) -> Schema:
    """Returns the schema with the shape that it refers to in its place. An enum's own description is for who reads the
    code."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    shape = _resolved(shapes[reference.removeprefix("#/$defs/")], shapes)
    own = {key: value for key, value in schema.items() if key != "$ref"}
    return {**{key: value for key, value in shape.items() if not ("enum" in shape and key == "description")}, **own}


def _outline(field: Schema, shapes: Mapping[str, Schema], *, is_given: bool) -> Schema:
    """Returns the type of one field of an answer. One that is always given may be null; the others are left out
    instead."""
    options = [_resolved(option, shapes) for option in field.get("anyOf", [field])]
    kinds = list(dict.fromkeys(option.get("type") for option in options))
    if not is_given and "null" in kinds:
        kinds.remove("null")
    if None in kinds:
        return {}
    return {"type": kinds[0] if len(kinds) == 1 else kinds}
