"""`migrate`: brings the schema of the database to this version, or to an earlier revision with --to."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from db.domain.errors import InvalidInput, Refused
from mcp_server.cli.session import EXIT_CODES, Home, failed, opened, settings_of, unusable

if TYPE_CHECKING:
    from db.postgres.database import Database

cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@cli.command("migrate", epilog=EXIT_CODES)
def migrate(
    to: Annotated[str | None, typer.Option(help="A revision such as 0025, earlier ones too; base is empty.")] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go back though rows or values are lost by it.")
    ] = False,
    home: Home = None,
) -> None:
    """Bring the database (DATABASE_URL, or the embedded one) to this version's schema, or to another with --to.

    With an earlier revision it goes back, whole or not at all. Where that schema has no place for what is stored, it
    says what would be lost, and changes nothing without --accept-loss. Stop all servers and make a backup first; then
    start the version that works with that schema, since this one would bring the embedded database up again.
    """
    with opened(settings_of(home=home), prepare=_leave_as_it_is) as app:
        database = app.database()
        if to is None:
            _bring_up_to_date(database)
        else:
            _move(database, to, accepts_loss=accept_loss)


def _leave_as_it_is(_: "Database") -> None:
    """Does not migrate: the command migrates itself, reports what it does, and has no time limit."""


def _bring_up_to_date(database: "Database") -> None:
    from migrations.runner import ensure_current  # noqa: PLC0415  `--help` needs none of it

    ensure_current(database.engine, upgrade=True)
    typer.echo("The database is up to date.")


def _move(database: "Database", revision: str, *, accepts_loss: bool) -> None:
    from migrations.going_back import move  # noqa: PLC0415  see above

    try:
        lost = move(database.engine, revision, accepts_loss=accepts_loss)
    except InvalidInput as error:
        raise unusable(str(error)) from None
    except Refused as error:
        raise failed(str(error)) from None
    for loss in lost:
        sys.stderr.write(f"sales-automation-mcp: lost: {loss}\n")
    typer.echo(f"The database stands at revision {revision}.")
