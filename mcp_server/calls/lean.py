"""The schemas that clients are offered. A model reads every word of them at every start, so they hold what it needs to
get a call right the first time; the pydantic models, of which they are made, hold the rest and check it.

They keep to what every client reads. Gemini refuses all tools for one that has another `format` than date-time, a list
of types or a part without a type; google-genai reads no flag in additionalProperties; many resolve no reference.
"""

from collections.abc import Mapping
from typing import Any, cast

Schema = dict[str, Any]

# Sizes and spellings that nobody misses by accident, or whose description says them: a refusal names the rule.
_UNTOLD = frozenset(
    {
        "$defs",
        "const",
        "title",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
        "pattern",
        "propertyNames",
        "additionalProperties",
    }
)
_SAID_BY_NOTHING: dict[str, tuple[object, ...]] = {"default": (None, "", {}, [])}
_FORMAT = "date-time"
_UNLIMITED = 1_000


def lean_input(schema: Schema) -> Schema:
    """Returns the arguments of a tool: names, types, enums, ranges, defaults and descriptions, without references.

    Of shapes and choices that are `told_in` another place only that is said. Whatever `schema` admits is admitted, but
    for what the server takes besides: null or an empty text in the place of an optional argument, and texts, numbers
    and lists where any JSON may stand. That no other name is taken is said by the refusal of it.
    """
    return _lean(schema, schema.get("$defs", {}))


def lean_output(schema: Schema) -> Schema:
    """Returns what a tool answers: the names and types of the top level, without those that are `untold`. The answers
    themselves tell the rest."""
    shapes = schema.get("$defs", {})
    fields = cast("dict[str, Schema]", schema.get("properties", {}))
    required = schema.get("required", ())
    told = {name: field for name, field in fields.items() if not field.get("untold")}
    properties = {name: _outline(field, shapes, is_given=name in required) for name, field in told.items()}
    return {"type": "object", "properties": properties}


def _lean(schema: Schema, shapes: Mapping[str, Schema]) -> Schema:
    schema = _chosen(_resolved(schema, shapes), shapes)
    if "told_in" in schema:
        schema = _told_elsewhere(schema)
    if "type" not in schema:  # any JSON: most of it is an object, and one type has to be told
        schema = {"type": "object", "description": "Any JSON", **schema}
    if "const" in schema:  # a choice of one, in the word that clients know
        schema = {**schema, "enum": [schema["const"]]}
    parts = {key: _lean_part(key, value, shapes) for key, value in schema.items()}
    return {key: value for key, value in parts.items() if _is_told(key, value)}


def _told_elsewhere(schema: Schema) -> Schema:
    """Returns a text, an object, or a list of objects, with the place where its choices or its shape are told."""
    if schema["type"] == "array":
        return {"type": "array", "items": {"type": "object", "description": f"As {schema['told_in']}"}}
    return {"type": schema["type"], "description": f"As {schema['told_in']}"}


def _chosen(schema: Schema, shapes: Mapping[str, Schema]) -> Schema:
    """Returns the schema with its alternatives in one: the only one besides null, or the type that all of them have."""
    if "anyOf" not in schema:
        return schema
    options = [_resolved(option, shapes) for option in schema["anyOf"] if option.get("type") != "null"]
    own = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(options) == 1:
        return {**options[0], **own}
    (kind,) = {option["type"] for option in options}  # where there are more, the argument says its schema by itself
    return {"type": kind, **own}


def _lean_part(key: str, value: object, shapes: Mapping[str, Schema]) -> object:
    if key == "properties":
        return {name: _lean(part, shapes) for name, part in cast("dict[str, Schema]", value).items()}
    return _lean(cast("Schema", value), shapes) if key == "items" else value


def _is_told(key: str, value: object) -> bool:
    if key in ("minimum", "maximum"):
        return isinstance(value, int) and 1 < value < _UNLIMITED
    if key == "format":
        return value == _FORMAT
    if key == "default" and isinstance(value, list):  # its description says it in fewer words
        return False
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
    """Returns the type of one field of an answer, or nothing of one that has several. One that is always given may be
    null; the others are left out instead."""
    options = [_resolved(option, shapes) for option in field.get("anyOf", [field])]
    kinds = {option.get("type") for option in options} - (set() if is_given else {"null"})
    return {"type": kinds.pop()} if len(kinds) == 1 and None not in kinds else {}
