"""`tokens create | list | revoke`: the bearer tokens of HTTP clients."""

import os
import stat
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from db.domain.access import Scope
from db.domain.errors import SalesAutomationError, StoreUnavailable
from db.services.ops import tokens
from mcp_server.cli.session import EXIT_CODES, Home, complain, opened, settings_of, unusable

if TYPE_CHECKING:
    from db.models import AccessToken
    from db.services import Session

Result = TypeVar("Result")

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Bearer tokens of HTTP clients.",
    epilog=EXIT_CODES,
)


@cli.command("create", epilog=EXIT_CODES)
def create(
    name: Annotated[str, typer.Argument(help="Who will use it; the audit log shows it.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; give the option once for each.")],
    expires_in_days: Annotated[int | None, typer.Option(help="Left out, it never ends.", min=1, max=3650)] = None,
    home: Home = None,
) -> None:
    """Make a token and print it. It is shown this once, and kept as a hash alone."""

    def work(session: "Session", now: datetime) -> str:
        ends = None if expires_in_days is None else now + timedelta(days=expires_in_days)
        _, plain = tokens.create(session, name=name, scopes=set(scope), expires_at=ends)
        return plain

    typer.echo(_run(home, work))
    if _is_open_file(sys.stdout.fileno()):
        complain("other users of this machine can read the file that it went to: run chmod 600 on it.")
    complain("keep it now: it is not shown again. Servers that run take it within seconds.")


@cli.command("list", epilog=EXIT_CODES)
def list_(home: Home = None) -> None:
    """List the tokens, with what they may do and when they were used last."""

    def work(session: "Session", now: datetime) -> list[tuple[str, ...]]:
        return [_row(token, now) for token in tokens.list_(session)]

    rows = [("NAME", "SCOPES", "STATE", "CREATED", "EXPIRES", "LAST USED", "ID"), *_run(home, work)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@cli.command("revoke", epilog=EXIT_CODES)
def revoke(name_or_id: Annotated[str, typer.Argument(help="As `tokens list` shows it.")], home: Home = None) -> None:
    """End a token. Servers that run refuse it within ten seconds."""
    name = _run(home, lambda session, now: tokens.revoke(session, name_or_id=name_or_id, now=now).name)
    typer.echo(f"The token {name} is revoked.")


def _run(home: Path | None, work: "Callable[[Session, datetime], Result]") -> Result:
    with opened(settings_of(home=home)) as app:
        try:
            return app.run("tokens", lambda session: work(session, app.clock()))
        except StoreUnavailable:
            raise
        except SalesAutomationError as error:  # the caller gave a name
            raise unusable(str(error)) from None


def _is_open_file(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return sys.platform != "win32" and stat.S_ISREG(mode) and bool(mode & 0o044)


def _row(token: "AccessToken", now: datetime) -> tuple[str, ...]:
    state = "active"
    if token.revoked_at is not None:
        state = "revoked"
    elif token.expires_at is not None and token.expires_at <= now:
        state = "expired"
    moments = (_shown(token.created_at), _shown(token.expires_at), _shown(token.last_used_at))
    return (token.name, ",".join(token.scopes), state, *moments, str(token.id))


def _shown(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M")
