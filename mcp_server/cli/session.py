"""What the commands share: settings, the wait for the database, and how they end when something is wrong."""

import signal
import sys
from collections.abc import Collection
from typing import Any, Final

import typer
from pydantic import ValidationError

from db.domain.errors import SalesAutomationError
from mcp_server.process.app import App
from mcp_server.process.settings import Settings, variable

INTERRUPTED: Final = 128 + signal.SIGINT


def settings_of(**arguments: Any) -> Settings:  # noqa: ANN401  any setting
    """The settings of the environment and of the arguments that are given; the command ends where they are wrong."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise fail(f"{'; '.join(wrong_settings(error, given))}. Correct it, or leave it out.") from None


def wrong_settings(error: ValidationError, arguments: Collection[str] = ()) -> list[str]:
    """What is wrong, a line for each setting: its variable, or its option where it is one of `arguments`, and the
    rule."""
    from mcp_server.schemas.faults import explain  # noqa: PLC0415  needed for this message alone

    return [_by_source(line, arguments) for line in explain(error)]


def _by_source(line: str, arguments: Collection[str]) -> str:
    name, _, rule = line.partition(": ")
    name, *place = name.split(".")
    if name not in Settings.model_fields:
        return line
    source = f"--{name}" if name in arguments else variable(name)
    return f"{'.'.join([source, *place])}: {rule}"


def await_database(app: App) -> None:
    """Return when the database is up; otherwise exit with 1, and the reason in one line on stderr."""
    try:
        app.database()
    except SalesAutomationError as error:
        if str(error) != app.failure:  # that one stands on stderr already
            sys.stderr.write(f"sales-automation-mcp: {error}\n")
        raise typer.Exit(1) from error


def fail(reason: str) -> typer.Exit:
    """Raise what this gives: the reason on stderr, and 2 as the exit code."""
    sys.stderr.write(f"sales-automation-mcp: {reason}\n")
    return typer.Exit(2)
