"""The tools as clients take them. Each has rules of its own, and leaves out the tool that breaks one, or all tools."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, cast

import pytest
from agents import FunctionTool
from agents.mcp import MCPServerStdio, MCPUtil
from agents.strict_schema import ensure_strict_json_schema
from google.genai import types as gemini
from mcp_types import Tool
from pydantic import TypeAdapter

from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App

Schema = dict[str, Any]

OFFERED: dict[str, Tool] = {
    tool.name: Tool(name=tool.name, description=tool.description, input_schema=tool.parameters)
    for toolset in TOOLSETS
    for tool in toolset.offer(cast("App", None), read_only=False)
}
OUTPUTS: dict[str, Schema] = {
    tool.name: tool.output_schema or {}
    for toolset in TOOLSETS
    for tool in toolset.offer(cast("App", None), read_only=False)
}
every_tool = pytest.mark.parametrize("tool", OFFERED.values(), ids=OFFERED)

# What Claude takes as the name of an argument, and the longest name of a tool with the prefix of the server.
ARGUMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,35}")
KINDS = {"string", "integer", "number", "boolean", "array", "object"}
# Whatever else JSON Schema knows, somebody does not read.
WORDS = {"type", "properties", "required", "items", "enum", "format", "description", "default", "minimum", "maximum"}


def parts(schema: Schema) -> Iterator[Schema]:
    """The schema and those of its parts."""
    yield schema
    for part in schema.get("properties", {}).values():
        yield from parts(part)
    if "items" in schema:
        yield from parts(schema["items"])


@every_tool
def test_each_part_is_written_in_the_words_that_all_clients_read(tool: Tool) -> None:
    for part in parts(tool.input_schema):
        assert part.keys() <= WORDS
        assert part["type"] in KINDS
        assert part.get("format", "date-time") == "date-time"
        assert ("items" in part) is (part["type"] == "array")
        assert set(part.get("required", ())) <= set(part.get("properties", ()))
        assert "enum" not in part or (part["type"] == "string" and all(part["enum"]))
        assert part["type"] == "string" or "format" not in part


@every_tool
def test_names_and_descriptions_are_as_short_as_clients_want_them(tool: Tool) -> None:
    assert tool.input_schema["type"] == "object"
    assert NAME.fullmatch(tool.name)
    assert 0 < len(tool.description or "") <= 1_024
    for part in parts(tool.input_schema):
        assert all(ARGUMENT.fullmatch(name) for name in part.get("properties", ()))


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_answer_has_one_type_or_none_said(name: str) -> None:
    for part in parts(OUTPUTS[name]):
        assert part.keys() <= {"type", "properties"}
        assert part.get("type", "object") in KINDS


@every_tool
def test_google_genai_takes_the_tool_with_all_arguments(tool: Tool) -> None:
    convert: Any = import_module("google.genai._mcp_utils").mcp_to_gemini_tool  # what its sessions of MCP call
    made = TypeAdapter(gemini.Tool).validate_python(convert(tool))
    (declared,) = made.function_declarations or []
    assert declared.parameters is not None
    assert same_shape(declared.parameters, tool.input_schema)


def same_shape(taken: gemini.Schema, told: Schema) -> bool:
    """Whether it has the same types, properties and values to choose from, at every depth."""
    return (
        (taken.type or "").lower() == told["type"]
        and (taken.enum or []) == told.get("enum", [])
        and (taken.required or []) == told.get("required", [])
        and (taken.properties or {}).keys() == told.get("properties", {}).keys()
        and all(same_shape(part, told["properties"][name]) for name, part in (taken.properties or {}).items())
        and (taken.items is None) is ("items" not in told)
        and (taken.items is None or same_shape(taken.items, told["items"]))
    )


def is_open(schema: Schema) -> bool:
    """Whether there is an object without names of its own: strict mode knows none."""
    return any(part["type"] == "object" and not part.get("properties") for part in parts(schema))


@every_tool
def test_openai_agents_takes_the_tool_in_strict_mode_where_its_objects_are_closed(tool: Tool) -> None:
    server = MCPServerStdio(params={"command": "sales-automation-mcp"})  # never started
    made = MCPUtil.to_function_tool(tool, server, convert_schemas_to_strict=True)
    assert isinstance(made, FunctionTool)
    assert made.strict_json_schema is not is_open(tool.input_schema)
    assert made.params_json_schema["properties"].keys() == tool.input_schema["properties"].keys()


@every_tool
def test_openai_takes_the_tool_where_strict_mode_is_all_there_is(tool: Tool) -> None:
    strict = ensure_strict_json_schema(TypeAdapter(Schema).validate_python(tool.model_dump()["input_schema"]))
    assert strict["required"] == list(tool.input_schema["properties"])
