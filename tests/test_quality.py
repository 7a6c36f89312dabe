"""The checkers, as tests, so that one command passes everything."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["basedpyright", "--pythonpath", sys.executable],
        ["lint-imports", "--no-cache"],
    ],
    ids=lambda command: command[0] if command[0] != "ruff" else " ".join(command[:2]),
)
def test_checker_is_clean(command: list[str]) -> None:
    tool = Path(sys.executable).parent / command[0]
    result = subprocess.run([str(tool), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def imported(source: str) -> Iterator[str]:
    """The dotted names that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


IS_FOR_PYTEST_ALONE = re.compile(r"(^|\.)(conftest|test_\w+)(\.|$)")


@pytest.mark.parametrize("folder", ["tests", "bench", "docs", "release"])
def test_no_module_imports_a_test_module_or_a_conftest(folder: str) -> None:
    """What tests share is in tests.support: pytest loads the others by itself, and may load an imported one twice."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path.read_text("utf-8"))
        if IS_FOR_PYTEST_ALONE.search(name)
    ]
    assert found == []
