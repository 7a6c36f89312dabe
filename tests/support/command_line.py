"""Commands as people run them: processes of their own, with the exit code, stdout and stderr apart."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from mcp_server.__main__ import cli
from tests.support import forks
from tests.support.processes import environment

COMMAND = [sys.executable, "-m", "mcp_server"]
_COLOURED = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")


def plain_environment(database_url: str, home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in environment(database_url).items() if name not in _COLOURED}
    return {**kept, "SALES_AUTOMATION_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "160", **more}


class Cli:
    """Runs commands on one database and one home."""

    def __init__(self, database_url: str, home: Path) -> None:
        self.env = plain_environment(database_url, home)

    def run(self, *arguments: str | Path, given: bytes | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """The finished process; `given` is its stdin, `more` are further variables."""
        done = forks.run([*map(str, arguments)], env={**self.env, **more}, given=given or b"")
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def run_here(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The same within this process, for what ends before the command does anything: a process takes a second to
        start."""
        done = CliRunner().invoke(cli, arguments, env={**self.env, **more}, prog_name="python -m mcp_server")
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)
