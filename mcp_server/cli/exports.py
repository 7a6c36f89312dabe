"""`export`: a campaign's enrollments or events, page by page, as CSV or JSON lines."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, cast
from uuid import UUID

import typer

from db.domain.contacts import CONTACT_TEXTS
from mcp_server.cli.session import EXIT_CODES, Home, failed, opened, settings_of
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

_PAGE: Final = 500

Row = dict[str, Any]
_Page = tuple[list[Row], str | None]

cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")


class What(StrEnum):
    ENROLLMENTS = "enrollments"
    EVENTS = "events"


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


@cli.command("export", epilog=EXIT_CODES)
def export(
    campaign: Annotated[UUID, typer.Option(help="The campaign's id.")],
    what: Annotated[What, typer.Option(help="Its people and how far they are, or what happened.")] = What.ENROLLMENTS,
    format: Annotated[Format, typer.Option(help="For a spreadsheet, or exact for a program.")] = Format.CSV,
    output: Annotated[
        Path, typer.Option(help="Replace this file once all is written; - writes to stdout.", allow_dash=True)
    ] = Path("-"),
    home: Home = None,
) -> None:
    """Export a campaign's enrollments or events, newest first.

    In CSV, what a spreadsheet would take for a formula (a text, or a part of it after a comma, semicolon, bar, tab or
    line's end, that starts with =, +, - or @) gets an apostrophe in front. JSON lines hold every value as it is.
    """
    from mcp_server.cli.sheets import CsvSheet, JsonLines  # noqa: PLC0415  `--help` needs none of it

    read, columns = _SOURCES[what]
    with opened(settings_of(home=home)) as app:
        pages = _pages(app, lambda session, cursor: read(session, campaign, cursor))
        first = next(pages)  # before the file is touched: the campaign may not be there
        try:
            with _sink(output) as file:
                sheet = CsvSheet(file, columns) if format is Format.CSV else JsonLines(file)
                sheet.write(first)
                for rows in pages:
                    sheet.write(rows)
        except BrokenPipeError:
            raise  # the reader of a pipe has had enough, which typer ends quietly
        except OSError as error:
            where = "stdout" if str(output) == "-" else str(output)
            raise failed(
                f"{where} can't be written: {error.strerror}. Name another file with --output, or make room."
            ) from None


def _pages(app: App, read: "Callable[[Session, str | None], _Page]") -> Iterator[list[Row]]:
    """Pages until the last, each in a transaction of its own; at least one."""
    cursor: str | None = None
    while True:
        rows, cursor = app.run("export", lambda session, at=cursor: read(session, at), read_only=True)
        yield rows
        if cursor is None:
            return


@contextmanager
def _sink(output: Path) -> Generator[BinaryIO]:
    from mcp_server.cli.files import replacing  # noqa: PLC0415  see export

    if str(output) == "-":
        yield cast("BinaryIO", sys.stdout.buffer)
        sys.stdout.buffer.flush()
    elif output.exists() and not output.is_file():  # a pipe or a device is written to, never replaced
        with output.open("wb") as file:
            yield file
    else:
        with replacing(output) as file:
            yield file


_ENROLLMENT: Final = ("status", "current_step", "next_action_at", "stop_reason", "a_b_variant")


def _enrollments(session: "Session", campaign_id: UUID, cursor: str | None) -> _Page:
    from db.services.enrollments import enrollments  # noqa: PLC0415  see export

    page = enrollments.list_(session, campaign_id=campaign_id, status=None, limit=_PAGE, cursor=cursor)
    return [_enrollment_row(row.enrollment, row.contact) for row in page.rows], page.next_cursor


def _enrollment_row(enrollment: Any, contact: Any) -> Row:  # noqa: ANN401  rows of models that are imported late
    return {
        "enrollment_id": enrollment.id,
        "campaign_id": enrollment.instance_id,
        "contact_id": enrollment.contact_id,
        **{name: getattr(contact, name) for name in CONTACT_TEXTS},
        **{name: getattr(enrollment, name) for name in _ENROLLMENT},
        "created_at": enrollment.created_at,
        "updated_at": enrollment.updated_at,
        "attributes": contact.attributes,
    }


def _events(session: "Session", campaign_id: UUID, cursor: str | None) -> _Page:
    from db.services.events import events  # noqa: PLC0415  see export

    page = events.list_(
        session,
        campaign_id=campaign_id,
        enrollment_id=None,
        event_type=None,
        since=None,
        until=None,
        limit=_PAGE,
        cursor=cursor,
    )
    return [_event_row(event) for event in page.rows], page.next_cursor


_EVENT: Final = ("event_type", "channel", "step_number", "occurred_at", "provider", "provider_event_id")


def _event_row(event: Any) -> Row:  # noqa: ANN401  see _enrollment_row
    return {
        "event_id": event.id,
        "campaign_id": event.instance_id,
        "enrollment_id": event.enrollment_id,
        **{name: getattr(event, name) for name in _EVENT},
        "created_at": event.created_at,
        "metadata": event.details,
    }


_SOURCES: Final = {
    What.ENROLLMENTS: (
        _enrollments,
        (
            *("enrollment_id", "campaign_id", "contact_id"),
            *CONTACT_TEXTS,
            *_ENROLLMENT,
            *("created_at", "updated_at", "attributes"),
        ),
    ),
    What.EVENTS: (
        _events,
        ("event_id", "campaign_id", "enrollment_id", *_EVENT, "created_at", "metadata"),
    ),
}
