"""What a model reads of the tools before it calls one: little, and nothing that refuses what the server takes."""

import csv
from collections.abc import Callable
from datetime import UTC
from importlib import resources
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from jsonschema import Draft202012Validator
from mcp.client import Client
from mcp.server.mcpserver.tools import Tool as OfferedTool
from pydantic_core import to_json

from mcp_server.calls.call import Tool
from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App
from tests.support.server import call, text_of
from tests.support.tool_schemas import COMMAND, kept, listed

Schema = dict[str, Any]

# A token of our list is 4.3 characters, as bench/tokens.py counts them: 14,000 tokens, and 9,500.
CHARACTERS = {"all": 60_200, "outreach": 40_850}

TOOLS = {tool.name: tool for toolset in TOOLSETS for tool in toolset.tools}
OFFERED: dict[str, OfferedTool] = {
    tool.name: tool for toolset in TOOLSETS for tool in toolset.offer(cast("App", None), read_only=False)
}


@pytest.mark.anyio
@pytest.mark.parametrize("toolsets", CHARACTERS)
async def test_the_tools_are_told_in_few_words(make_app: Callable[..., App], toolsets: str) -> None:
    async with Client(build_server(make_app(toolsets=toolsets))) as client:
        listed = (await client.list_tools()).tools
    told = to_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed])
    assert 0.5 * CHARACTERS[toolsets] < len(told) <= CHARACTERS[toolsets]


# A token of a list of people is 2.5 characters: 1,500 tokens.
@pytest.mark.anyio
@pytest.mark.parametrize("tool", ["list_enrollments", "list_events", "find_contacts"])
async def test_twenty_rows_are_told_in_few_words(make_app: Callable[..., App], tool: str) -> None:
    table = csv.DictReader((resources.files("mcp_server.demo") / "contacts.csv").read_text("utf-8").splitlines())
    people = [{name: value for name, value in next(table).items() if value} for _ in range(21)]
    steps = [{"step_number": 1, "subject": f"Try {v}", "body": "A word with you ...", "a_b_variant": v} for v in "AB"]
    steps.append({"step_number": 2, "subject": "Again", "body": "A word with you ...", "delay_hours": 72})
    async with Client(build_server(make_app())) as client:
        template = await call(client, "create_template", name="T", type="email", email_steps=steps)
        made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
        of = {"campaign_id": made["campaign"]["id"]}
        await call(client, "start_campaign", **of)
        rows = (await call(client, "enroll_contacts", contacts=people, detail="full", **of))["results"]
        sent = {"event_type": "sent", "channel": "email"}
        await call(client, "record_events", events=[{**sent, "enrollment_id": row["enrollment_id"]} for row in rows])
        answer = await client.call_tool(tool, {"limit": 20, **({} if tool == "find_contacts" else of)})
    assert '"next_cursor"' in text_of(answer)
    assert len(text_of(answer)) <= 3_750


def full_input(tool: OfferedTool) -> Schema:
    """The schema by which the arguments are checked, of which clients are told what they need: of any JSON that it is
    an object, since they want one type."""
    schema = tool.fn_metadata.arg_model.model_json_schema()
    parts = schema["properties"]
    of_json = [name for name, part in parts.items() if part.get("$ref", "").endswith("/JsonValue")]
    return {**schema, "properties": {**parts, **{name: {"type": "object"} for name in of_json}}}


def values(schema: Schema, shapes: Schema, *, may_be_null: bool = True) -> st.SearchStrategy[Any]:
    """Whatever `schema` admits; of an optional argument not null, which a lean schema does not tell of."""
    if "$ref" in schema:
        return values(shapes[schema["$ref"].removeprefix("#/$defs/")], shapes)
    if "anyOf" in schema:
        kinds = [option for option in schema["anyOf"] if may_be_null or option.get("type") != "null"]
        return st.one_of([values(kind, shapes) for kind in kinds])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    return _KINDS[schema.get("type", "any")](schema, shapes)


def _text(schema: Schema, _: Schema) -> st.SearchStrategy[str]:
    moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
    formats = {"uuid": st.uuids().map(str), "date": st.dates().map(str), "date-time": moments}
    if "pattern" in schema:
        return st.from_regex(cast("str", schema["pattern"]))
    return formats.get(schema.get("format", ""), st.text(min_size=schema.get("minLength", 0), max_size=300))


def _array(schema: Schema, shapes: Schema) -> st.SearchStrategy[list[Any]]:
    items = [values(option, shapes) for option in schema.get("prefixItems", ())]
    if items:
        return st.tuples(*items).map(list)
    return st.lists(values(schema.get("items", {}), shapes), min_size=schema.get("minItems", 0), max_size=3)


def _object(schema: Schema, shapes: Schema) -> st.SearchStrategy[Schema]:
    if "properties" not in schema:
        item = schema.get("additionalProperties", True)
        return st.dictionaries(st.text(), values({} if item is True else item, shapes), max_size=3)
    required = schema.get("required", ())
    parts = {name: values(part, shapes, may_be_null=name in required) for name, part in schema["properties"].items()}
    optional = {name: part for name, part in parts.items() if name not in required}
    return st.fixed_dictionaries({name: parts[name] for name in required}, optional=optional)


_JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers(), max_size=2)
_KINDS: dict[str, Callable[[Schema, Schema], st.SearchStrategy[Any]]] = {
    "any": lambda schema, shapes: _JSON,  # noqa: ARG005  one signature for all kinds
    "null": lambda schema, shapes: st.none(),  # noqa: ARG005  see above
    "boolean": lambda schema, shapes: st.booleans(),  # noqa: ARG005  see above
    "integer": lambda schema, shapes: st.integers(schema.get("minimum"), schema.get("maximum")),  # noqa: ARG005  see above
    "number": lambda schema, shapes: st.floats(allow_nan=False, allow_infinity=False),  # noqa: ARG005  see above
    "string": _text,
    "array": _array,
    "object": _object,
}
few = settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@pytest.mark.parametrize("name", OFFERED)
@few
@given(data=st.data())
def test_what_the_server_takes_is_not_refused_by_the_schema_it_shows(name: str, data: st.DataObject) -> None:
    full = full_input(OFFERED[name])
    check(OFFERED[name].parameters, data.draw(values(full, full.get("$defs", {}))))


@pytest.mark.parametrize("name", OFFERED)
@few
@given(data=st.data())
def test_every_answer_fits_the_schema_that_is_shown(name: str, data: st.DataObject) -> None:
    full = TOOLS[name].answer.model_json_schema()
    check(OFFERED[name].output_schema, data.draw(values(full, full.get("$defs", {}))))


def check(shown: Schema | None, value: object) -> None:
    assert shown is not None
    validator = cast("Any", Draft202012Validator(shown))  # its own types are partly unknown
    validator.validate(value)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_a_field_that_an_answer_may_lack_is_left_out_and_never_null(tool: Tool) -> None:
    """The lean schema says so of the top level."""
    for name, field in tool.answer.model_fields.items():
        if not field.is_required() and field.default is None:
            assert field.exclude_if is not None, name


@pytest.mark.parametrize("name", OFFERED)
def test_an_optional_argument_may_be_null_although_the_schema_does_not_say_it(name: str) -> None:
    model = OFFERED[name].fn_metadata.arg_model
    optional = [name for name, field in model.model_fields.items() if not field.is_required() and field.default is None]
    for argument in optional:
        model.__pydantic_validator__.validate_assignment(model.model_construct(), argument, None)
    assert set(optional) <= set(OFFERED[name].parameters["properties"])


@pytest.mark.parametrize("name", OFFERED)
def test_a_lean_schema_holds_no_reference_and_nothing_twice(name: str) -> None:
    offered = OFFERED[name]
    text = to_json([offered.parameters, offered.output_schema]).decode()
    for word in ('"$ref"', '"$defs"', '"anyOf"', '"default":null'):
        assert word not in text
    assert offered.parameters["properties"].keys() == full_input(offered)["properties"].keys()
    assert "\n\n" not in offered.description


@pytest.mark.anyio
async def test_a_tool_that_reads_otherwise_is_written_anew_for_the_review() -> None:
    before, now = kept(), await listed()
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    assert changed == [], f"Look at what changes for models: run {COMMAND}, then git diff"
