"""What all commands share: settings, the app, and how to exit when something is wrong."""

import re
import signal
import sys
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import ValidationError

from db.domain.errors import SalesAutomationError
from mcp_server.process import logs
from mcp_server.process.app import App
from mcp_server.process.settings import Settings, variable

if TYPE_CHECKING:
    from db.postgres.database import Database

FAILED: Final = 1
UNUSABLE: Final = 2
PARTLY: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT
_TERMINATED: Final = 128 + signal.SIGTERM

_COMMANDS: Final = {
    "list_drafts": "drafts list",
    "list_campaigns": "campaigns list",
    "list_jobs": "jobs list",
    "get_job": "jobs show",
    "cancel_job": "jobs cancel",
    "retry_job": "jobs retry",
}
"""Tool that an error advises -> the command that does the same."""
_TOOLS: Final = re.compile(rf"\b(?:{'|'.join(_COMMANDS)})\b")

EXIT_CODES: Final = "Exit codes: 0 done, 1 failed, 2 the command or what it was given can't be used."

Home = Annotated[Path | None, typer.Option(help="Directory of the embedded database and the local store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


def settings_of(**arguments: Any) -> Settings:  # noqa: ANN401  any setting
    """Returns the settings from the environment and the given arguments. Ends the command if they are wrong."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise unusable(f"{'; '.join(wrong_settings(error, given))}. Correct it, or leave it out.") from None


def wrong_settings(error: ValidationError, arguments: Collection[str] = ()) -> list[str]:
    """Returns a line for each wrong setting: its variable, or its option if it is one of `arguments`, and the rule."""
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
def opened(
    settings: Settings, *, database: bool = True, prepare: "Callable[[Database], None] | None" = None
) -> Generator[App]:
    """Yields an app for the command, and first waits for the database if `database` is true. An error of ours ends the
    command with 1. `prepare`: see App."""
    logs.configure(settings.log_level)
    # A server that is stopped exits with 0. A command that is stopped is not finished, and a script must see that.
    signal.signal(signal.SIGTERM, _terminated)
    app = App(settings, prepare=prepare)
    try:
        if database:
            await_database(app)
        yield app
    except SalesAutomationError as error:
        raise failed(str(error)) from None
    finally:
        app.close()


def tell_of_clock(app: App) -> None:
    """Writes to stderr that the time is simulated, if it is."""
    if app.settings.clock_file is not None:
        complain(
            f"{app.settings.clock_file} tells the time, {app.clock():%Y-%m-%d %H:%M:%S}Z, and mail goes to, and is "
            "read from, servers at loopback addresses alone."
        )


def await_database(app: App) -> None:
    """Waits until the database is up. If it does not start, writes the reason in one line to stderr and exits with
    1."""
    try:
        app.database()
    except SalesAutomationError as error:
        if str(error) != app.failure:  # the app has already written that one to stderr
            complain(str(error))
        raise typer.Exit(FAILED) from error


def failed(reason: str) -> typer.Exit:
    """Writes the reason to stderr and returns an exit to raise, with the code 1."""
    complain(reason)
    return typer.Exit(FAILED)


def unusable(reason: str) -> typer.Exit:
    """Writes the reason to stderr and returns an exit to raise, with the code 2 for wrong usage."""
    complain(reason)
    return typer.Exit(UNUSABLE)


def complain(text: str) -> None:
    """Writes a line to stderr. Replaces names of tools by the commands that do the same, if there are any."""
    spoken = _TOOLS.sub(lambda tool: f"`sales-automation-mcp {_COMMANDS[tool[0]]}`", text)
    sys.stderr.write(f"sales-automation-mcp: {spoken}\n")


def _terminated(*_: object) -> None:
    raise SystemExit(_TERMINATED)
