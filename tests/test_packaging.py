"""What is published: a wheel that runs outside the checkout, and documents that agree with it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from migrations import HEAD

ROOT = Path(__file__).parent.parent


def build(source: Path, target: Path) -> Path:
    """Build the sdist, and the wheel from it, into `target`."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the built wheel and sdist."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def test_wheel_and_sdist_carry_all_that_runs(distributions: Path) -> None:
    modules = {
        str(path.relative_to(ROOT)) for top in ("mcp_server", "db", "migrations") for path in (ROOT / top).rglob("*.py")
    }
    data = {"mcp_server/demo/contacts.csv", "migrations/script.py.mako", "db/py.typed", "mcp_server/py.typed"}
    data |= {str(path.relative_to(ROOT)) for path in (ROOT / "mcp_server" / "offers" / "prompts").glob("*.md")}
    data |= {str(path.relative_to(ROOT)) for path in (ROOT / "mcp_server" / "web").glob("*.*")}
    data |= {str(path.relative_to(ROOT)) for path in (ROOT / "mcp_server" / "offers" / "views").glob("*.*s")}
    assert {
        "mcp_server/offers/prompts/plan_campaign.md",
        "mcp_server/web/app.js",
        "mcp_server/offers/views/bridge.js",
    } <= data
    wheel = set(ZipFile(next(distributions.glob("*.whl"))).namelist())
    assert modules | data <= wheel
    assert not any(name.startswith(("tests/", "bench/", "release/")) for name in wheel)
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        sdist = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    beside = {"README.md", "CHANGELOG.md", "LICENSE", "server.json", "Dockerfile", "compose.yaml", "release/bundle.py"}
    beside |= {"docs/tools.md", "docs/images/demo.svg"}
    assert modules | data | beside <= sdist


def test_the_same_sources_are_built_to_the_same_bytes_elsewhere_and_later(distributions: Path, tmp_path: Path) -> None:
    left = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "venv")
    copy = Path(shutil.copytree(ROOT, tmp_path / "elsewhere", ignore=left))
    for name in (".gitignore", ".dockerignore"):
        shutil.copy(ROOT / name, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1_900_000_000, 1_900_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    again = build(copy, tmp_path / "dist")
    names = sorted(path.name for path in distributions.iterdir())
    assert len(names) == 2
    assert names == sorted(path.name for path in again.iterdir())
    assert [name for name in names if (distributions / name).read_bytes() != (again / name).read_bytes()] == []


def test_nothing_that_a_server_writes_beside_the_sources_is_committed() -> None:
    """Data directories, local stores and tokens hold what people have said."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {".sales-automation/", "*.db", "*.db-wal", "/token"} <= set(ignored)


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


def test_constraints_pin_names_and_versions_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines if line)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names <= pinned


# Parts of what is declared, by the name of their own distribution.
COME_ALONG = {"mcp-types": "mcp", "pydantic-core": "pydantic"}


def imported() -> set[str]:
    """The top modules, apart from the standard library's and our own, that what is published imports."""
    ours = ("mcp_server", "db", "migrations")
    trees = [ast.parse(path.read_text("utf-8")) for top in ours for path in (ROOT / top).rglob("*.py")]
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - set(ours)


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[\[<>=;]", requirement)[0].lower() for requirement in project["dependencies"]}
    distributions = packages_distributions()
    for module in imported():
        names = {name.lower().replace("_", "-") for name in distributions[module]}
        assert {COME_ALONG.get(name, name) for name in names} & declared, module


def test_head_is_a_revision_of_the_package() -> None:
    assert list((ROOT / "migrations" / "versions").glob(f"{HEAD}_*.py"))
