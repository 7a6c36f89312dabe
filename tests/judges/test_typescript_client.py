"""The TypeScript SDK's own client, on every transport and in both protocol eras."""

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_server.calls.toolsets import TOOLSETS
from tests.support.judges.node import Node
from tests.support.processes import COMMAND

SCRIPT = Path(__file__).parent / "client.mjs"


def target(transport: str, base: str, store: str, home: Path) -> dict[str, Any]:
    if transport == "stdio":
        env = {"DATABASE_URL": store, "SALES_AUTOMATION_HOME": str(home)}
        return {"command": COMMAND[0], "args": COMMAND[1:], "env": env}
    return {"url": f"{base}/{'sse' if transport == 'sse' else 'mcp'}"}


@pytest.mark.parametrize(
    ("transport", "mode", "protocol"),
    [
        ("stdio", "legacy", "2025-11-25"),
        ("stdio", "auto", "2026-07-28"),
        ("sse", "legacy", "2025-11-25"),
        ("http", "legacy", "2025-11-25"),
        ("http", "auto", "2026-07-28"),
    ],
)
def test_a_campaign_is_run_and_every_answer_fits_its_output_schema(
    judges: Node, shipped: str, store: str, tmp_path: Path, transport: str, mode: str, protocol: str
) -> None:
    told = {"mode": mode, **target(transport, shipped, store, tmp_path)}
    ran = judges.run(SCRIPT, json.dumps(told))
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert seen.pop("tools") == [tool.name for toolset in TOOLSETS for tool in toolset.tools]
    assert seen == {
        "protocol": protocol,
        "server": "sales-automation-mcp",
        "enrolled": [1, 1],
        "metrics": 1,
        "refused": True,
        "prompts": 4,
        "resources": 3,
        "read": "C",
    }
