"""What errors, advice and pages tell people to run exists."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_names import check_named, named

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for top in ("mcp_server", "db", "migrations", "release") for path in (ROOT / top).rglob("*.py"))
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *sorted(path for path in (ROOT / "mcp_server" / "web").iterdir() if path.suffix in {".js", ".html"}),
    *sorted((ROOT / "mcp_server" / "offers").rglob("*.md")),
]


def texts(path: Path) -> Iterator[str]:
    """The texts of a module, what is filled in as X. Docstrings are for developers, but for those of commands."""
    tree = ast.parse(path.read_text("utf-8"))
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documented = [node for node in ast.walk(tree) if isinstance(node, holders) and ast.get_docstring(node)]
    docstrings = {id(node.body[0].value) for node in documented if isinstance(node.body[0], ast.Expr)}
    is_of_commands = path.parent.name == "cli"
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_for_people = is_of_commands or id(node) not in docstrings
            yield node.value if is_for_people else ""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_pages_name_exist(path: Path) -> None:
    for words in named(path.read_text("utf-8")):
        check_named(words)


def test_commands_that_texts_of_the_program_name_exist() -> None:
    found = [words for path in SOURCES for text in texts(path) for words in named(text)]
    for words in found:
        check_named(words)
    assert {("migrate",), ("campaigns", "list"), ("tokens", "create"), ("jobs", "retry")} <= {
        tuple(words[: 1 if words[0] == "migrate" else 2]) for words in found
    }


@pytest.mark.parametrize(
    "text",
    ["Run `sales-automation-mcp repair`.", "Run `tokens lst`.", "See: sales-automation-mcp fix", "`jobs list --all`"],
)
def test_a_command_that_does_not_exist_is_noticed(text: str) -> None:
    ((words),) = named(text)
    with pytest.raises(AssertionError, match="there is no"):
        check_named(words)
