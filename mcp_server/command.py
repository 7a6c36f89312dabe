"""What the commands share: settings, the wait for the database, and how they end when something is wrong."""

import sys
from typing import Any

import typer
from pydantic import ValidationError

from db.domain.errors import SalesAutomationError
from mcp_server.app import App
from mcp_server.settings import Settings


def settings_of(**arguments: Any) -> Settings:  # noqa: ANN401  any setting
    """The settings of the environment and of the arguments that are given; the command ends where they are wrong."""
    try:
        return Settings(**{name: value for name, value in arguments.items() if value is not None})
    except ValidationError as error:
        from mcp_server.schemas.explaining import explain  # noqa: PLC0415  needed for this message alone

        raise fail("; ".join(explain(error))) from None


def await_database(app: App) -> None:
    """Return when the database is up; otherwise exit with 1, and the reason in one line on stderr."""
    try:
        app.database()
    except SalesAutomationError as error:
        if error is not app.failure:  # that one stands on stderr already
            sys.stderr.write(f"sales-automation-mcp: {error}\n")
        raise typer.Exit(1) from error


def fail(reason: str) -> typer.Exit:
    """Raise what this gives: the reason on stderr, and 2 as the exit code."""
    sys.stderr.write(f"sales-automation-mcp: {reason}\n")
    return typer.Exit(2)
