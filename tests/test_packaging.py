"""What is published: a wheel that runs outside the checkout, and documents that agree with it."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_server import __version__
from mcp_server.settings import Settings
from migrations import HEAD

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the built wheel and sdist."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def test_wheel_and_sdist_carry_all_that_runs(distributions: Path) -> None:
    modules = {
        str(path.relative_to(ROOT)) for top in ("mcp_server", "db", "migrations") for path in (ROOT / top).rglob("*.py")
    }
    data = {"mcp_server/demo/contacts.csv", "migrations/script.py.mako", "db/py.typed", "mcp_server/py.typed"}
    data |= {str(path.relative_to(ROOT)) for path in (ROOT / "mcp_server" / "prompts").glob("*.md")}
    assert len(data) > 4
    wheel = set(ZipFile(next(distributions.glob("*.whl"))).namelist())
    assert modules | data <= wheel
    assert not any(name.startswith(("tests/", "bench/")) for name in wheel)
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        sdist = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert modules | data | {"README.md", "CHANGELOG.md", "LICENSE", "server.json", "docs/tools.md"} <= sdist


@pytest.fixture
def installed(distributions: Path, fresh_database: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has the wheel, a migrated database, and no way to the checkout."""
    site = tmp_path / "site"
    wheel = next(distributions.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, cwd=tmp_path)
    env = {**os.environ, "PYTHONPATH": str(site), "DATABASE_URL": fresh_database}
    probe = [sys.executable, "-c", "import mcp_server; print(mcp_server.__file__)"]
    where = subprocess.run(probe, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert where.stdout.startswith(str(site))
    subprocess.run([sys.executable, "-m", "mcp_server", "migrate"], env=env, cwd=tmp_path, check=True)
    return env


@pytest.mark.anyio
async def test_the_installed_wheel_migrates_and_serves_outside_the_checkout(
    installed: dict[str, str], tmp_path: Path
) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "mcp_server"], env=installed, cwd=tmp_path)
    async with Client(stdio_client(parameters)) as client:
        result = await client.call_tool("list_campaigns", {})
        assert result.structured_content == {"campaigns": []}


def test_versions_agree() -> None:
    server: dict[str, Any] = json.loads((ROOT / "server.json").read_text("utf-8"))
    assert server["version"] == __version__
    assert {package["version"] for package in server["packages"]} == {__version__}
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_server_json_holds_what_the_registry_asks_for() -> None:
    server: dict[str, Any] = json.loads((ROOT / "server.json").read_text("utf-8"))
    assert server["$schema"].endswith("/schemas/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", server["name"])
    assert 1 <= len(server["description"]) <= 100
    assert f"mcp-name: {server['name']}" in (ROOT / "README.md").read_text("utf-8")
    variables = {each["name"] for package in server["packages"] for each in package["environmentVariables"]}
    known = {"DATABASE_URL", *(f"SALES_AUTOMATION_{name.upper()}" for name in Settings.model_fields)}
    assert variables <= known


def test_constraints_pin_names_and_versions_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines if line)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names <= pinned


def test_head_is_a_revision_of_the_package() -> None:
    assert list((ROOT / "migrations" / "versions").glob(f"{HEAD}_*.py"))
