"""The reference of the tools, written from their signatures and the models of what they take and give."""

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, create_model

from docs.generate.examples import EXAMPLES
from docs.generate.meanings import ARGUMENTS, RESULTS
from docs.generate.regions import table
from mcp_server.calls.call import Mode, Tool
from mcp_server.calls.toolset import IdempotencyKey, Toolset
from mcp_server.calls.toolsets import PRESETS, TOOLSETS

Schema = dict[str, Any]

_WIDTH = 100
_FORMATS = {"uuid": "UUID", "date-time": "moment", "date": "day", "uri": "URL"}
_LIMITS = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"))


def arguments_of(tool: Tool) -> type[BaseModel]:
    """A model of the tool's arguments, with the idempotency key of those that write."""
    parameters = list(inspect.signature(tool.function).parameters.values())[1:]
    fields: dict[str, Any] = {
        parameter.name: (
            parameter.annotation,
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters
    }
    if not tool.read_only:
        fields["idempotency_key"] = (IdempotencyKey, None)
    return create_model(f"{tool.name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)


def taken(tool: Tool) -> Schema:
    """The JSON schema of the arguments, less the idempotency key, which is described once for all tools."""
    schema = arguments_of(tool).model_json_schema()
    schema["properties"].pop("idempotency_key", None)
    return schema


def answered(tool: Tool) -> Schema:
    """The JSON schema of the answer."""
    return tool.answer.model_json_schema(mode="serialization")


def reference() -> str:
    """All tools, by toolset, and the shapes that they share."""
    return "".join([*map(_toolset, TOOLSETS), _shapes()])


def overview() -> str:
    """The toolsets with their tools, as a table."""
    rows = ([f"[`{toolset.name}`](tools.md#{toolset.name})", toolset.summary, _links(toolset)] for toolset in TOOLSETS)
    return table(("toolset", "what it is for", "tools"), rows)


def presets() -> str:
    """The names that stand for several toolsets."""
    rows = ((f"`{name}`", ", ".join(option.name for option in chosen)) for name, chosen in PRESETS.items())
    return table(("preset", "toolsets"), rows)


def shapes_of(schemas: Iterator[Schema]) -> dict[str, Schema]:
    """Name -> schema of the objects that the schemas name, in alphabetical order."""
    found: dict[str, Schema] = {}
    for schema in schemas:
        names = schema.get("$defs", {})
        found |= {name: {**shape, "$defs": names} for name, shape in names.items() if "properties" in shape}
    return dict(sorted(found.items()))


def inputs() -> dict[str, Schema]:
    """The shapes that clients send."""
    return shapes_of(taken(tool) for toolset in TOOLSETS for tool in toolset.tools)


def outputs() -> dict[str, Schema]:
    """The shapes that clients get."""
    return shapes_of(answered(tool) for toolset in TOOLSETS for tool in toolset.tools)


def meaning_of(owner: str, name: str, schema: Schema, meanings: Mapping[str, str]) -> str:
    """What is said of this field of the tool or shape `owner`; else what the model says; else what all of that name
    mean."""
    said = schema.get("description") or _inner(schema).get("description")
    return meanings.get(f"{owner}.{name}") or said or meanings.get(name, "")


def _links(toolset: Toolset) -> str:
    return ", ".join(f"[{tool.name}](tools.md#{tool.name})" for tool in toolset.tools)


def _toolset(toolset: Toolset) -> str:
    head = f"## {toolset.name}\n\n{toolset.summary[0].upper()}{toolset.summary[1:]}.\n\n"
    return head + "".join(map(_tool, toolset.tools))


def _tool(tool: Tool) -> str:
    parts = [
        f"### {tool.name}\n\n*{tool.title}.* {_hints(tool)}\n",
        f"{inspect.cleandoc(tool.function.__doc__ or '')}\n",
        _arguments(tool.name, taken(tool)),
        f"```json tool={tool.name}\n{_json(EXAMPLES.get(tool.name, {}))}\n```\n",
        _answer(tool.name, answered(tool)),
    ]
    return "\n".join(parts) + "\n"


def _hints(tool: Tool) -> str:
    hints = ["reads" if tool.read_only else "writes"]
    hints += ["can't be undone"] if tool.destructive else []
    hints += ["repeating it changes nothing more"] if tool.idempotent and not tool.read_only else []
    hints += ["works without the database"] if tool.mode is Mode.LOCAL else []
    return f"Scope `{tool.scope}`; {'; '.join(hints)}."


def _arguments(tool: str, schema: Schema) -> str:
    return _fields("argument", tool, schema) if schema["properties"] else "It takes no arguments.\n"


def _answer(tool: str, schema: Schema) -> str:
    lead = f"Answer: {schema['description']}\n\n" if "description" in schema else "Answer:\n\n"
    return lead + _answer_fields(tool, schema)


def _fields(head: str, owner: str, schema: Schema) -> str:
    rows = (
        (f"`{name}`", _type(part, schema), _default(name, part, schema), _meaning(owner, name, part))
        for name, part in schema["properties"].items()
    )
    return table((head, "type", "default", "meaning and limits"), rows)


def _answer_fields(owner: str, schema: Schema) -> str:
    rows = (
        (f"`{name}`", _type(part, schema), meaning_of(owner, name, part, RESULTS))
        for name, part in schema["properties"].items()
    )
    return table(("field", "type", "meaning"), rows)


def _shapes() -> str:
    given = inputs()
    answers = outputs()
    text = "## Shapes\n\nThe objects that arguments and answers are made of.\n\n"
    for name, shape in sorted({**answers, **given}.items()):
        text += f"### {name}\n\n"
        text += f"{inspect.cleandoc(shape['description'])}\n\n" if "description" in shape else ""
        text += _fields("field", name, shape) if name in given else _answer_fields(name, shape)
        text += "\n"
    return text


def _meaning(owner: str, name: str, schema: Schema) -> str:
    said = meaning_of(owner, name, schema, ARGUMENTS)
    limits = [text for text in _limits(schema) if text]
    return " ".join([said, f"({', '.join(limits)})" if limits else ""]).strip()


def _default(name: str, schema: Schema, whole: Schema) -> str:
    if name in whole.get("required", ()):
        return "required"
    default = schema.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def _inner(schema: Schema) -> Schema:
    """The one branch of an optional field that is not null."""
    branches = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return branches[0] if len(branches) == 1 else schema


def _limits(schema: Schema) -> Iterator[str]:
    inner = _inner(schema)
    for least, most, unit in _LIMITS:
        yield _range(inner.get(least), inner.get(most), unit)


def _range(least: float | None, most: float | None, unit: str) -> str:
    if least is not None and most is not None:
        return f"{least:,} to {most:,}{unit}"
    if most is not None:
        return f"at most {most:,}{unit}"
    return f"at least {least:,}{unit}" if least is not None else ""


def _type(schema: Schema, whole: Schema) -> str:
    """The type in words; objects as links to their shape."""
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2], whole)
    if "anyOf" in schema:
        return " or ".join(
            dict.fromkeys(_type(option, whole) for option in schema["anyOf"] if option.get("type") != "null")
        )
    if "allOf" in schema:
        return _type(schema["allOf"][0], whole)
    if "enum" in schema or "const" in schema:
        return _choices(schema.get("enum") or [schema["const"]])
    return _plain(schema, whole)


def _plain(schema: Schema, whole: Schema) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), whole)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        named = _type(cast("Schema", values), whole) if isinstance(values, dict) and values else ""
        return f"object of {named}" if named and named != "JSON" else "object"
    return _FORMATS.get(schema.get("format", ""), kind or "JSON")


def _named(name: str, whole: Schema) -> str:
    shape: Schema = whole["$defs"][name]
    if "enum" in shape:
        return _choices(shape["enum"])
    return f"[{name}](#{name.lower()})" if "properties" in shape else _plain(shape, whole)


def _json(value: object, indent: str = "") -> str:
    """JSON with each object on one line, where it is short enough to be read there."""
    short = json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    if len(short) + len(indent) <= _WIDTH or not value:
        return short
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        lines = [f"{inner}{json.dumps(key)}: {_json(part, inner)}" for key, part in items]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list):
        lines = [inner + _json(part, inner) for part in cast("list[object]", value)]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return short


def _choices(values: list[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)
