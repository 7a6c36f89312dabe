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
from typing import Any
from zipfile import ZipFile

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from migrations import HEAD
from release import server_json

ROOT = Path(__file__).parent.parent


def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


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


def test_the_same_sources_make_the_same_bytes_elsewhere_later_and_beside_others(
    distributions: Path, tmp_path: Path
) -> None:
    left = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "venv")
    copy = Path(shutil.copytree(ROOT, tmp_path / "elsewhere", ignore=left))
    for name in (".gitignore", ".dockerignore"):
        shutil.copy(ROOT / name, copy)
    # Files under names of ours, deeper down: the virtual environment of somebody who named it so, for instance.
    for name in ("docs/page.md", "db/models.py", "tests/test_theirs.py", "README.md", "release/notes.txt"):
        theirs = copy / "environment" / "lib" / "python" / "site-packages" / "another" / name
        theirs.parent.mkdir(parents=True, exist_ok=True)
        theirs.write_text("theirs", encoding="utf-8")
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
    wanted = [*project()["dependencies"], *project()["optional-dependencies"]["test"]]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names <= pinned


# Parts of what is declared, and what its interfaces are made of, by the name of their own distribution.
COME_ALONG = {"pydantic-core": "pydantic", "proxy-protocol": "pymap", "pysasl": "pymap"}


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
    wanted = [*project()["dependencies"], *project()["optional-dependencies"]["demo"]]
    declared = {re.split(r"[\[<>=;]", requirement)[0].lower() for requirement in wanted}
    distributions = packages_distributions()
    assert "mcp-types" in declared
    for module in imported():
        names = {name.lower().replace("_", "-") for name in distributions[module]}
        assert {COME_ALONG.get(name, name) for name in names} & declared, module


def test_libraries_whose_inner_parts_are_used_are_held_below_their_next_major_version() -> None:
    """http/bounded_http.py and http/serve.py are made of uvicorn's own classes, demo/mail_host.py of pymap's."""
    requirement = next(item for item in project()["dependencies"] if item.startswith("uvicorn"))
    assert requirement.endswith(",<1")
    assert "pymap>=0.36.7,<0.37" in project()["optional-dependencies"]["demo"]


def test_the_pythons_that_it_says_it_runs_on_begin_with_the_oldest_that_is_taken() -> None:
    said = [line.rpartition(" ")[2] for line in project()["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert said == ["3.11", "3.12", "3.13", "3.14"]
    assert project()["requires-python"] == f">={said[0]}"


def test_one_address_of_the_repository_is_told_everywhere() -> None:
    urls = project()["urls"]
    repository = urls["Repository"]
    assert repository == server_json.REPOSITORY == server_json.document()["repository"]["url"]
    assert all(url.startswith(repository) for url in urls.values())


def test_the_pictures_of_the_readme_are_seen_wherever_it_is_shown() -> None:
    """A package's page shows the README without the files beside it."""
    readme = (ROOT / "README.md").read_text("utf-8")
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme)
    assert len(pictures) == 2
    place = f"{server_json.REPOSITORY}/main/".replace("https://github.com/", "https://raw.githubusercontent.com/")
    for picture in pictures:
        assert picture.startswith(place)
        assert (ROOT / picture.removeprefix(place)).is_file()


def test_head_is_a_revision_of_the_package() -> None:
    assert list((ROOT / "migrations" / "versions").glob(f"{HEAD}_*.py"))


def test_nothing_is_declared_twice() -> None:
    groups = {"": project()["dependencies"], **project()["optional-dependencies"]}
    for declared in groups.values():
        names = [re.split(r"[<>=\[;~! ]", dependency)[0].lower() for dependency in declared]
        assert len(names) == len(set(names))


def test_commands_of_the_quick_start_make_the_virtual_environment_that_they_use() -> None:
    """Pythons of Debian, Ubuntu and Homebrew refuse to install outside one (PEP 668)."""
    start = (ROOT / "README.md").read_text("utf-8").partition("## Quick start")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", start, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        (line,) = block.splitlines()  # one command
        made, *used = line.split(" && ")
        assert made == "python3 -m venv .venv"
        assert all(step.startswith(".venv/bin/") for step in used)
