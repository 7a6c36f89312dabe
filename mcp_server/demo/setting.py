"""Where the demo plays: a home of its own, the server's environment, its mailboxes, and a time that the demo moves."""

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mcp.client.stdio import StdioServerParameters

from db.domain.mailboxes import variable_suffix

MAILBOXES: Final = MappingProxyType(
    {"ann@mail.example.com": "Ann Archer", "ben@mail.example.com": "Ben Baker", "cleo@mail.example.com": "Cleo Carter"}
)
"""Address -> display name."""
_SECONDS_TO_STOP: Final = 20
_BEGAN: Final = timedelta(days=14)


class DemoClock:
    """The server's time (SALES_AUTOMATION_CLOCK_FILE). It stands still until it is moved."""

    def __init__(self, home: Path) -> None:
        self.path = home / "clock"
        self.now = (datetime.now(UTC) - _BEGAN).replace(hour=9, minute=0, second=0, microsecond=0)
        self._write()

    def move(self, *, hours: int) -> None:
        """Moves it forward."""
        self.now += timedelta(hours=hours)
        self._write()

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(self.now.isoformat(), "utf-8")
        new.replace(self.path)


def new_passwords() -> dict[str, str]:
    """Address of each mailbox -> its password, for this run."""
    return {address: secrets.token_urlsafe() for address in MAILBOXES}


@contextmanager
def home() -> Generator[Path]:
    """Yields a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sales-automation-demo-"))
    # The account that PostgreSQL runs under, when this is root, must pass through it.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        # A server that is slow to end is ended by its client, and its PostgreSQL stops a moment later.
        deadline = time.monotonic() + _SECONDS_TO_STOP
        while (folder / "postgres" / "postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def server(folder: Path, clock: DemoClock, passwords: Mapping[str, str]) -> StdioServerParameters:
    """Returns how to start the server: it sends, on this machine alone, and nothing of the caller's settings counts."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith("SALES_AUTOMATION_")
    }
    given = {f"MAILBOX_PASSWORD_{variable_suffix(address)}": password for address, password in passwords.items()}
    given |= {"HOME": str(folder), "CLOCK_FILE": str(clock.path), "ALLOW_PRIVATE_HOSTS": "true"}
    env = {**kept, **{f"SALES_AUTOMATION_{name}": value for name, value in given.items()}}
    return StdioServerParameters(command=sys.executable, args=["-m", "mcp_server", "serve", "--send"], env=env)
