"""How a command opens what it works with, and how it ends."""

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from db.domain.errors import SalesAutomationError
from mcp_server.cli.session import await_database
from mcp_server.process import logs
from mcp_server.process.app import App
from mcp_server.process.settings import Settings

FAILED: Final = 1
PARTLY: Final = 3
_TERMINATED: Final = 128 + signal.SIGTERM

EXIT_CODES: Final = "Exit codes: 0 done, 1 failed, 2 the command or what it was given can't be used."

Home = Annotated[Path | None, typer.Option(help="Directory of the embedded database and the local store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


@contextmanager
def opened(settings: Settings, *, database: bool = True) -> Generator[App]:
    """An app for the length of a command, with the database up if it is asked for. A refusal ends it with 1."""
    logs.configure(settings.log_level)
    # A server that is told to stop ends with 0; a command was cut short, and a script must see that.
    signal.signal(signal.SIGTERM, _terminated)
    app = App(settings)
    try:
        if database:
            await_database(app)
        yield app
    except SalesAutomationError as error:
        raise failed(str(error)) from None
    finally:
        app.close()


def failed(reason: str) -> typer.Exit:
    """Raise what this gives: the reason on stderr, and 1 as the exit code."""
    complain(reason)
    return typer.Exit(FAILED)


def complain(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"sales-automation-mcp: {text}\n")


def _terminated(*_: object) -> None:
    raise SystemExit(_TERMINATED)
