"""What the commands share: their settings, the app they work with, and how they end when something is wrong."""

import signal
import sys
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from db.domain.errors import SalesAutomationError
from mcp_server.process import logs
from mcp_server.process.app import App
from mcp_server.process.settings import Settings, variable

FAILED: Final = 1
UNUSABLE: Final = 2
PARTLY: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT
_TERMINATED: Final = 128 + signal.SIGTERM

EXIT_CODES: Final = "Exit codes: 0 done, 1 failed, 2 the command or what it was given can't be used."

Home = Annotated[Path | None, typer.Option(help="Directory of the embedded database and the local store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


def settings_of(**arguments: Any) -> Settings:  # noqa: ANN401  any setting
    """Returns the settings of the environment and of the arguments that are given. The command ends if they are
    wrong."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise unusable(f"{'; '.join(wrong_settings(error, given))}. Correct it, or leave it out.") from None


def wrong_settings(error: ValidationError, arguments: Collection[str] = ()) -> list[str]:
    """Returns what is wrong, a line for each setting: its variable, or its option if it is one of `arguments`, and the
    rule."""
    from mcp_server.schemas.faults import explain  # noqa: PLC0415  needed for this message alone

    return [_by_source(line, arguments) for line in explain(error)]


def _by_source(line: str, arguments: Collection[str]) -> str:
    name, _, rule = line.partition(": ")
    name, *keys = name.split(".")
    if name not in Settings.model_fields:
        return line
    source = f"--{name}" if name in arguments else variable(name)
    return f"{'.'.join([source, *keys])}: {rule}"


@contextmanager
def opened(settings: Settings, *, database: bool = True) -> Generator[App]:
    """Opens an app for the length of a command, with the database up if it is asked for. A refusal ends it with 1."""
    logs.configure(settings.log_level)
    # A server that is told to stop ends with 0. A command was cut short, and a script must see that.
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


def await_database(app: App) -> None:
    """Returns when the database is up. Otherwise exits with 1, and the reason in one line on stderr."""
    try:
        app.database()
    except SalesAutomationError as error:
        if str(error) != app.failure:  # that one stands on stderr already
            complain(str(error))
        raise typer.Exit(FAILED) from error


def failed(reason: str) -> typer.Exit:
    """Writes the reason to stderr and returns an exit to raise, with the code 1."""
    complain(reason)
    return typer.Exit(FAILED)


def unusable(reason: str) -> typer.Exit:
    """Writes the reason to stderr and returns an exit to raise, with the code 2: the command can't be used like
    this."""
    complain(reason)
    return typer.Exit(UNUSABLE)


def complain(text: str) -> None:
    """Writes a line to stderr."""
    sys.stderr.write(f"sales-automation-mcp: {text}\n")


def _terminated(*_: object) -> None:
    raise SystemExit(_TERMINATED)
