"""The MCPB bundle: the same bytes from the same sources, valid for its maker, and a server once it is unpacked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_server import __version__
from mcp_server.calls.toolsets import PRESETS, TOOLSETS
from mcp_server.process.settings import Settings, variable
from release import bundle
from tests.support.judges.node import Node
from tests.support.patience import PATIENCE

MANIFEST: dict[str, Any] = json.loads((bundle.ROOT / "release" / "manifest.json").read_text("utf-8"))


@pytest.fixture
def unpacked(judges: Node, tmp_path: Path) -> Path:
    """The directory of the unpacked bundle."""
    bundle.write(tmp_path / "sales.mcpb")
    ran = judges.run("mcpb", "unpack", tmp_path / "sales.mcpb", tmp_path / "unpacked")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return tmp_path / "unpacked"


def config(judges: Node, directory: Path, **given: Any) -> dict[str, Any]:
    """{command, args, env} as a client starts the unpacked bundle, after what its user filled in."""
    told = {"manifest": str(directory / "manifest.json"), "directory": str(directory), "userConfig": given}
    ran = judges.run(Path(__file__).with_name("bundle.mjs"), json.dumps(told))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_it_is_the_same_bytes_whenever_and_wherever_it_is_built(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-m", "release.bundle", str(tmp_path / name / "sales.mcpb")]
        zone = {"TZ": "Asia/Tokyo" if name == "first" else "UTC"}
        subprocess.run(command, check=True, cwd=bundle.ROOT, env={**os.environ, **zone})
    assert (tmp_path / "first" / "sales.mcpb").read_bytes() == (tmp_path / "second" / "sales.mcpb").read_bytes()


def test_it_is_of_this_version_and_asks_for_settings_that_there_are() -> None:
    assert MANIFEST["version"] == __version__
    env: dict[str, str] = MANIFEST["server"]["mcp_config"]["env"]
    assert set(env) <= {variable(name) for name in Settings.model_fields}
    assert {value.removeprefix("${user_config.").removesuffix("}") for value in env.values()} == set(
        MANIFEST["user_config"]
    )
    assert MANIFEST["user_config"]["database_url"]["sensitive"]
    names = [*(toolset.name for toolset in TOOLSETS), *PRESETS]
    assert all(name in MANIFEST["user_config"]["toolsets"]["description"] for name in names)


def test_its_maker_finds_it_valid_and_packs_it(judges: Node, unpacked: Path, tmp_path: Path) -> None:
    valid = judges.run("mcpb", "validate", bundle.ROOT / "release" / "manifest.json")
    assert valid.returncode == 0, valid.stdout + valid.stderr
    packed = judges.run("mcpb", "pack", unpacked, tmp_path / "packed.mcpb")
    assert packed.returncode == 0, packed.stdout + packed.stderr
    assert (tmp_path / "packed.mcpb").stat().st_size > 100_000


def test_what_is_left_empty_is_as_in_a_new_entry_and_what_is_filled_in_arrives(
    judges: Node, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in config(judges, unpacked)["env"].items():
        assert "$" not in value, name
        monkeypatch.setenv(name, value)
    assert not Settings().model_fields_set - {"migrate", "toolsets", "read_only", "log_level"}
    assert (Settings().database_url, Settings().toolsets, Settings().read_only) == (None, "outreach", False)
    given = config(judges, unpacked, toolsets="cache", read_only=True)
    for name, value in given["env"].items():
        monkeypatch.setenv(name, value)
    assert Settings().toolsets == "cache"
    assert Settings().read_only


@pytest.fixture
def started(judges: Node, unpacked: Path, store: str, tmp_path: Path) -> StdioServerParameters:
    """How a client starts the bundle, once uv has installed what it depends on."""
    told = config(judges, unpacked, database_url=store, home=str(tmp_path / "home"))
    assert told["command"] == "uv"
    uv = str(Path(sys.executable).with_name("uv"))
    env = {**os.environ, **told["env"], "UV_PYTHON": sys.executable, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
    command = [uv, "sync", "--directory", str(unpacked)]
    synced = subprocess.run(command, env=env, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    if "Failed to fetch" in synced.stderr:
        pytest.skip("uv can't reach the packages that the bundle installs")
    assert synced.returncode == 0, synced.stderr
    return StdioServerParameters(command=uv, args=told["args"], env=env, cwd=tmp_path)


@pytest.mark.anyio
async def test_it_serves_as_a_client_starts_it(started: StdioServerParameters) -> None:
    async with Client(stdio_client(started)) as client:
        result = await client.call_tool("list_campaigns", {})
        assert not result.is_error
