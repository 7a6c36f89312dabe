"""`claude-desktop`: one entry of somebody else's file; the others mean what they meant."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_server.cli.claude_desktop import command
from tests.support.command_line import Cli

OTHERS = """{
    "zeta": 1.50,
    "mcpServers": {
        "files": {"command": "files", "args": ["-y"], "env": {"KEY": "caf\\u00e9 é"}}
    },
    "alpha": [1,2,  3]
}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "Claude" / "claude_desktop_config.json"
    path.parent.mkdir()
    return path


def entry(path: Path, name: str = "sales-automation") -> dict[str, Any]:
    return json.loads(path.read_text("utf-8-sig"))["mcpServers"][name]


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.bak"))


def test_a_new_file_is_made_and_its_command_starts_this_installation(offline: Cli, tmp_path: Path) -> None:
    path = tmp_path / "new" / "claude_desktop_config.json"
    done = offline.run("claude-desktop", "install", "--config", path)
    assert done.returncode == 0, done.stderr
    made = entry(path)
    assert set(made) == {"command", "args", "env"}
    assert made["env"] == {"SALES_AUTOMATION_TOOLSETS": "outreach"}
    assert Path(made["command"]).is_absolute()
    assert Path(made["command"]).parent == Path(sys.executable).parent
    assert "a-secret-password" not in path.read_text()


def test_all_else_means_the_same_and_stands_in_the_same_order(offline: Cli, config: Path) -> None:
    config.write_text(OTHERS, "utf-8")
    config.chmod(0o640)
    assert offline.run("claude-desktop", "install", "--config", config).returncode == 0
    after = json.loads(config.read_text("utf-8"))
    assert list(after) == ["zeta", "mcpServers", "alpha"]
    assert list(after["mcpServers"]) == ["files", "sales-automation"]
    assert "café é" in config.read_text("utf-8")
    assert config.stat().st_mode & 0o777 == 0o640
    (backup,) = backups(config)
    assert backup.read_text("utf-8") == OTHERS
    assert offline.run("claude-desktop", "uninstall", "--config", config).returncode == 0
    assert json.loads(config.read_text("utf-8")) == json.loads(OTHERS)
    assert len(backups(config)) == 2


def test_a_second_install_changes_nothing_and_an_entry_keeps_what_it_has(offline: Cli, config: Path) -> None:
    install = ("claude-desktop", "install", "--config", config)
    assert offline.run(*install, "--env", "DATABASE_URL=postgresql://db.example.com/x?a=b").returncode == 0
    assert entry(config)["env"]["SALES_AUTOMATION_TOOLSETS"] == "outreach"
    before = config.read_bytes()
    again = offline.run(*install)
    assert again.returncode == 0
    assert "already" in again.stdout
    assert config.read_bytes() == before
    assert backups(config) == []
    assert offline.run(*install, "--env", "SALES_AUTOMATION_TOOLSETS", SALES_AUTOMATION_TOOLSETS="jobs").returncode == 0
    assert entry(config)["env"] == {
        "DATABASE_URL": "postgresql://db.example.com/x?a=b",
        "SALES_AUTOMATION_TOOLSETS": "jobs",
    }


def test_an_entry_that_is_there_is_not_narrowed(offline: Cli, config: Path) -> None:
    config.write_text('{"mcpServers": {"sales-automation": {"command": "old"}}}', "utf-8")
    assert offline.run("claude-desktop", "install", "--config", config).returncode == 0
    assert "env" not in entry(config)


def test_a_dry_run_prints_the_difference_and_changes_nothing(offline: Cli, config: Path) -> None:
    config.write_text(OTHERS, "utf-8")
    done = offline.run("claude-desktop", "install", "--config", config, "--name", "mine", "--dry-run")
    assert done.returncode == 0
    assert '+    "mine": {' in done.stdout.splitlines()
    assert config.read_text("utf-8") == OTHERS
    assert list(config.parent.iterdir()) == [config]


@pytest.mark.parametrize(
    "broken",
    [
        b'{"mcpServers": {"files": {}},}',
        b"{",
        b"[]",
        b"null",
        b'{"mcpServers": []}',
        b'{"mcpServers": null}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe{\x00}",
        b'{"a": "\xe9"}',
        b"[" * 200_000,
    ],
)
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_broken_file_is_refused_and_left_alone(offline: Cli, config: Path, broken: bytes, command: str) -> None:
    config.write_bytes(broken)
    done = offline.run("claude-desktop", command, "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Nothing was changed" in done.stderr
    assert config.read_bytes() == broken
    assert list(config.parent.iterdir()) == [config]


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"\xef\xbb\xbf{}", b'\xef\xbb\xbf{\r\n\t"a": 1\r\n}\r\n', '{"a": 1}'.encode("utf-16")],
)
def test_a_file_without_text_or_with_a_mark_in_front_is_read(offline: Cli, config: Path, content: bytes) -> None:
    config.write_bytes(content)
    assert offline.run("claude-desktop", "install", "--config", config).returncode == 0
    assert entry(config)["args"] in ([], ["-m", "mcp_server"])
    assert ("a" in json.loads(config.read_bytes())) == (b"a" in content)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_that_came_later_is_taken_out_though_the_entry_is_there(
    offline: Cli, config: Path, encoding: str
) -> None:
    assert offline.run("claude-desktop", "install", "--config", config).returncode == 0
    written = config.read_text("utf-8")
    config.write_text(written, encoding)  # as PowerShell saves it
    marked = config.read_bytes()
    dry = offline.run("claude-desktop", "install", "--config", config, "--dry-run")
    assert "byte order mark" in dry.stderr
    assert config.read_bytes() == marked
    done = offline.run("claude-desktop", "install", "--config", config)
    assert (done.returncode, "byte order mark" in done.stderr) == (0, True)
    assert config.read_bytes() == written.encode()


def test_a_link_stays_a_link(offline: Cli, config: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}", "utf-8")
    config.symlink_to(real)
    assert offline.run("claude-desktop", "install", "--config", config).returncode == 0
    assert config.is_symlink()
    assert entry(real)


def test_taking_out_what_is_not_there_is_fine(offline: Cli, config: Path) -> None:
    done = offline.run("claude-desktop", "uninstall", "--config", config)
    assert done.returncode == 0
    assert not config.exists()


@pytest.mark.parametrize("wrong", ["KEY", "=x", "A B=1", "1A=x"])
def test_a_variable_without_name_or_value_is_refused(offline: Cli, config: Path, wrong: str) -> None:
    assert offline.run("claude-desktop", "install", "--config", config, "--env", wrong).returncode == 2
    assert not config.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the place that Linux has")
def test_the_usual_place_is_found(offline: Cli, tmp_path: Path) -> None:
    done = offline.run("claude-desktop", "install", XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert done.returncode == 0
    assert entry(tmp_path / "config" / "Claude" / "claude_desktop_config.json")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_a_failure(offline: Cli, config: Path) -> None:
    config.write_text("{}", "utf-8")
    config.parent.chmod(0o500)
    done = offline.run("claude-desktop", "install", "--config", config)
    config.parent.chmod(0o700)
    assert done.returncode == 1
    assert config.read_text("utf-8") == "{}"


def test_the_client_gets_a_command_that_lasts(tmp_path: Path) -> None:
    cached = command(tmp_path / "uv" / "archive-v0" / "xYz" / "bin" / "python")
    assert Path(cached["command"]).name == "uvx"
    assert cached["args"] == ["sales-automation-mcp"]
    without_script = tmp_path / "bin" / "python"
    assert command(without_script) == {"command": str(without_script), "args": ["-m", "mcp_server"]}
