"""The command line as a whole: help, completion, exit codes, and a start that carries none of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server import __version__
from mcp_server.cli.lazy import COMMANDS
from tests.support.command_line import COMMAND, Cli
from tests.support.patience import PATIENCE

ALL = ("serve", "demo", *COMMANDS)
NESTED = [("jobs", verb) for verb in ("list", "show", "cancel", "retry")]
TOKENS = [("tokens", verb) for verb in ("create", "list", "revoke")]
CAMPAIGNS = [("campaigns", verb) for verb in ("list", "approval")]
EDITS = [("claude-desktop", verb) for verb in ("install", "uninstall")]


def test_commands_that_are_loaded_late_live_in_one_place() -> None:
    assert {module.rpartition(".")[0] for module in COMMANDS.values()} == {"mcp_server.cli"}


def test_the_help_names_every_command_and_the_exit_codes(offline: Cli) -> None:
    done = offline.run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ALL:
        assert command in done.stdout
    assert "Exit codes: 0" in done.stdout


def test_the_version_is_told(offline: Cli) -> None:
    done = offline.run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sales-automation-mcp {__version__}\n", "")


@pytest.mark.parametrize("command", [*[(verb,) for verb in ALL], *NESTED, *TOKENS, *CAMPAIGNS, *EDITS], ids=" ".join)
def test_every_command_and_option_is_explained(offline: Cli, command: tuple[str, ...]) -> None:
    done = offline.run_here(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: python -m mcp_server {' '.join(command)}" in done.stdout


@pytest.mark.parametrize("arguments", [("doctr",), ("export",), ("import",), ("jobs", "lost"), ("doctor", "--no-such")])
def test_a_wrong_command_is_a_usage_error_on_stderr(offline: Cli, arguments: tuple[str, ...]) -> None:
    done = offline.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a device that is always full")
@pytest.mark.parametrize("command", [("--version",), ("--help",), ("jobs", "list"), ("doctor", "--json")], ids=" ".join)
def test_an_output_that_has_no_room_is_told_in_one_line(offline: Cli, command: tuple[str, ...]) -> None:
    env = {**offline.env, "SALES_AUTOMATION_START_ATTEMPTS": "1"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *command], stdout=full, stderr=subprocess.PIPE, env=env, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("sales-automation-mcp: the output can't be written: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipe to close like that")
@pytest.mark.parametrize("command", [("--help",), ("jobs", "list"), ("doctor",)], ids=" ".join)
def test_a_reader_that_has_had_enough_is_no_reason_for_words(offline: Cli, command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    env = {**offline.env, "SALES_AUTOMATION_START_ATTEMPTS": "1"}
    try:
        done = subprocess.run(
            [*COMMAND, *command],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=env,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def python(cli: Cli, code: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", f"from mcp_server.__main__ import cli\n{code}"]
    env = {**cli.env, "SALES_AUTOMATION_START_ATTEMPTS": "1", **more}
    return subprocess.run(command, input="", env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_the_shell_completes_commands(offline: Cli) -> None:
    words = {"COMP_WORDS": "sales-automation-mcp cl", "COMP_CWORD": "1"}
    code = "cli(prog_name='sales-automation-mcp')"
    done = python(offline, code, _SALES_AUTOMATION_MCP_COMPLETE="complete_bash", **words)
    assert done.stdout.split() == ["claude-desktop"]


def test_the_shell_can_be_taught(offline: Cli) -> None:
    code = "cli(['--show-completion', 'bash'], prog_name='sales-automation-mcp')"
    done = python(offline, code, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0
    assert "_SALES_AUTOMATION_MCP_COMPLETE=complete_bash" in done.stdout


def test_the_start_carries_nothing_that_only_people_need(offline: Cli) -> None:
    code = "from typer.main import get_command\nget_command(cli)\nimport sys\nprint(*sys.modules, sep='\\n')"
    imported = set(python(offline, code).stdout.split())
    assert "mcp_server.cli.lazy" in imported
    assert not {"rich", "markdown_it", *COMMANDS.values()} & imported


def test_stdio_draws_nothing(offline: Cli) -> None:
    # The SDK's own logging brings parts of rich.
    done = python(offline, "cli([])", "-X", "importtime")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "mcp_server.calls.server" in imported
    assert not {"typer.rich_utils", "rich.table", "rich.progress", "markdown_it", *COMMANDS.values()} & imported


@pytest.mark.parametrize("name", ["db", "migrations"])
@pytest.mark.parametrize("kind", ["module", "package"])
def test_a_package_of_another_program_in_front_of_ours_is_named(tmp_path: Path, name: str, kind: str) -> None:
    theirs = tmp_path / f"{name}.py" if kind == "module" else tmp_path / name / "__init__.py"
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("raise RuntimeError('theirs is never run')\n", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"the package {name} is taken from {theirs}" in done.stderr
    assert "PYTHONPATH" in done.stderr
