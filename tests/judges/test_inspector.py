"""The Inspector's command line, on every transport."""

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_server.calls.toolsets import TOOLSETS
from tests.support.judges.node import Node
from tests.support.processes import COMMAND


@pytest.fixture(params=["stdio", "sse", "http"])
def inspect(request: pytest.FixtureRequest, judges: Node, shipped: str, store: str, tmp_path: Path) -> Any:
    """A function that runs one method, and gives what the server answered."""
    if request.param == "stdio":
        target = ["-e", f"DATABASE_URL={store}", "-e", f"SALES_AUTOMATION_HOME={tmp_path}", *COMMAND]
    else:
        path = "sse" if request.param == "sse" else "mcp"
        target = ["--transport", request.param, f"{shipped}/{path}"]

    def run(*arguments: str) -> dict[str, Any]:
        catalog = {"MCP_CATALOG_PATH": str(tmp_path / "catalog.json")}
        ran = judges.run("inspector", "--cli", "--method", *arguments, *target, env=catalog)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return json.loads(ran.stdout)

    return run


def test_every_tool_is_listed_and_no_schema_of_them_is_an_error(inspect: Any) -> None:
    # --strict makes an exit code of a schema that some client can't read.
    listed = inspect("tools/list", "--strict")
    assert [tool["name"] for tool in listed["tools"]] == [tool.name for toolset in TOOLSETS for tool in toolset.tools]


def test_a_tool_is_called(inspect: Any) -> None:
    steps = json.dumps([{"step_number": 1, "subject": "Hello", "body": "Good morning, all"}])
    arguments = ["name=Template", "type=email", f"email_steps={steps}"]
    answer = inspect("tools/call", "--tool-name", "create_template", "--tool-arg", *arguments)
    assert answer["structuredContent"]["template"]["name"] == "Template"
