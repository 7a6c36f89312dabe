"""What is in the code is in docs/, and as it is in the code."""

import re
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from db.domain.errors import NotFound
from db.local.store import LocalStore
from docs.generate import commands, reference, tools
from docs.generate.examples import EXAMPLES
from docs.generate.meanings import ARGUMENTS, RESULTS
from docs.generate.regions import PAGES
from mcp_server.calls.call import Tool
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.cli import session
from mcp_server.offers.prompts.catalogue import PROMPTS
from mcp_server.offers.resources.catalogue import RESOURCES
from mcp_server.process.settings import Settings, variable
from mcp_server.webhooks.providers import providers

TOOLS = [tool for toolset in TOOLSETS for tool in toolset.tools]


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text("utf-8")


def without_meaning(schemas: Mapping[str, tools.Schema], meanings: Mapping[str, str]) -> list[str]:
    """The properties of schemas of which nothing is said."""
    return [
        f"{owner}.{name}"
        for owner, schema in schemas.items()
        for name, part in schema["properties"].items()
        if not tools.meaning_of(owner, name, part, meanings)
    ]


def test_the_generated_regions_say_what_the_code_says() -> None:
    stale = [str(path.relative_to(PAGES.parent)) for path in reference.stale()]
    assert stale == [], f"{', '.join(stale)} is older than the code. Run: {reference.COMMAND}"


def test_every_region_that_can_be_written_is_shown() -> None:
    assert reference.shown() == set(reference.WRITERS)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_is_documented_with_an_example_that_it_takes(tool: Tool) -> None:
    assert f"\n### {tool.name}\n" in page("tools"), f"Run: {reference.COMMAND}"
    assert tool.name in EXAMPLES, f"{tool.name} has no example. Add one to docs/generate/examples.py"
    try:
        tools.arguments_of(tool).model_validate(EXAMPLES[tool.name])
    except ValidationError as error:
        pytest.fail(f"The example of {tool.name} does not fit: {error}")


def test_there_is_no_example_of_a_tool_that_is_gone() -> None:
    assert set(EXAMPLES) == {tool.name for tool in TOOLS}


def test_every_argument_has_a_meaning() -> None:
    schemas = {tool.name: tools.taken(tool) for tool in TOOLS} | tools.inputs()
    assert without_meaning(schemas, ARGUMENTS) == [], "Describe them in their models, or in docs/generate/meanings.py"


def test_every_field_of_an_answer_has_a_meaning() -> None:
    schemas = {tool.name: tools.answered(tool) for tool in TOOLS} | tools.outputs()
    assert without_meaning(schemas, RESULTS) == [], "Describe them in their models, or in docs/generate/meanings.py"


def test_a_meaning_belongs_to_a_field_that_there_is() -> None:
    given, got = (tools.inputs(), tools.taken), (tools.outputs(), tools.answered)
    for meanings, (shapes, schema_of) in ((ARGUMENTS, given), (RESULTS, got)):
        schemas = {tool.name: schema_of(tool) for tool in TOOLS} | shapes
        fields = [(owner, name) for owner, schema in schemas.items() for name in schema["properties"]]
        known = {name for _, name in fields} | {f"{owner}.{name}" for owner, name in fields}
        assert set(meanings) - known == set()


def test_an_example_names_a_job_as_the_queue_does(tmp_path: Path) -> None:
    with closing(LocalStore.open(tmp_path)) as store, pytest.raises(NotFound):
        store.jobs.get(EXAMPLES["get_job"]["job_id"], now=datetime(2026, 11, 2, tzinfo=UTC))


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_a_setting_is_documented(name: str) -> None:
    assert f"\n| `{variable(name)}` |" in page("settings"), f"Run: {reference.COMMAND}"
    assert Settings.model_fields[name].description


@pytest.mark.parametrize("command", list(commands.commands()), ids=lambda each: each.spoken)
def test_a_command_is_documented_with_its_options(command: commands.Command) -> None:
    text = page("command-line").partition(f"\n### {command.spoken}\n")[2].partition("\n### ")[0]
    assert text, f"Run: {reference.COMMAND}"
    assert [option for option in commands.options_of(command.command) if option.lower() not in text.lower()] == []
    assert [param.name for param in command.command.params if not param.help] == []


def test_every_exit_code_is_documented() -> None:
    listed = set(re.findall(r"^\| (\d+) \|", page("command-line"), re.MULTILINE))
    declared = {"0", "143"}  # done, and ended by SIGTERM
    for source in (PAGES.parent / "mcp_server").rglob("*.py"):
        declared |= set(re.findall(r"Exit\((\d+)\)", source.read_text("utf-8")))
    declared |= {str(code) for code in (session.FAILED, session.UNUSABLE, session.PARTLY)}
    assert declared - listed == set()


def test_every_prompt_and_resource_is_documented() -> None:
    text = page("prompts")
    assert [prompt.name for prompt in PROMPTS if f"| `{prompt.name}` |" not in text] == []
    assert [resource.noun for resource in RESOURCES if f"| `{resource.uri_template}` |" not in text] == []


@pytest.mark.parametrize("name", list(providers()))
def test_a_webhook_provider_has_a_section_on_its_setting_up(name: str) -> None:
    section = page("webhooks").partition(f"\n### {name}\n")[2].partition("\n#")[0]
    assert len(section.split()) > 5
