"""`export`: writes a campaign's enrollments, events or messages as CSV or JSON lines, page by page."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
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
    MESSAGES = "messages"


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


@cli.command("export", epilog=EXIT_CODES)
def export(
    campaign: Annotated[UUID, typer.Option(help="The campaign's id.")],
    what: Annotated[
        What, typer.Option(help="Its people, what happened, or what was written to them.")
    ] = What.ENROLLMENTS,
    format: Annotated[Format, typer.Option(help="For a spreadsheet, or exact for a program.")] = Format.CSV,
    output: Annotated[
        Path, typer.Option(help="Replace this file once all is written; - writes to stdout.", allow_dash=True)
    ] = Path("-"),
    home: Home = None,
) -> None:
    """Export a campaign's enrollments, events or messages, newest first.

    In CSV, what a spreadsheet would take for a formula (a text, or a part of it after a comma, semicolon, bar, tab or
    line's end, that starts with =, +, - or @) gets an apostrophe in front. JSON lines hold every value as it is.
    """
    from mcp_server.cli.sheets import CsvSheet, JsonLines  # noqa: PLC0415  `--help` needs none of it

    read, columns = _SOURCES[what]
    # On one terminal, rows and a progress line would overwrite each other.
    is_shown = sys.stderr.isatty() and not (str(output) == "-" and sys.stdout.isatty())
    with opened(settings_of(home=home)) as app, _progress(what, is_shown=is_shown) as advance:
        pages = _pages(app, lambda session, cursor: read(session, campaign, cursor))
        first = next(pages)  # read before the file is opened, since the campaign may not exist
        try:
            with _sink(output) as file:
                sheet = CsvSheet(file, columns) if format is Format.CSV else JsonLines(file)
                for rows in chain([first], pages):
                    sheet.write(rows)
                    advance(len(rows))
        except BrokenPipeError:
            raise  # the reader closed the pipe; typer exits without a message
        except OSError as error:
            where = "stdout" if str(output) == "-" else str(output)
            raise failed(
                f"{where} can't be written: {error.strerror}. Name another file with --output, or make room."
            ) from None


@contextmanager
def _progress(what: What, *, is_shown: bool) -> Generator[Callable[[int], None]]:
    """Yields a function that takes the number of rows written since the last call. On a terminal it shows the total,
    which stays visible."""
    if not is_shown:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415  needed on a terminal alone
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    counted = TextColumn("Exporting {task.completed:,.0f} {task.description}")
    with Progress(SpinnerColumn(), counted, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda more: bar.advance(task, more)


def _pages(app: App, read: "Callable[[Session, str | None], _Page]") -> Iterator[list[Row]]:
    """Yields all pages, at least one. Each is read in a transaction of its own."""
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
    elif output.exists() and not output.is_file():  # write to a pipe or a device, and never replace it
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
        "campaign_id": enrollment.campaign_id,
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
    people = events.people_of(session, campaign_id=campaign_id, events=page.rows)
    return [_event_row(event, people[event.enrollment_id]) for event in page.rows], page.next_cursor


_PERSON: Final = ("email", "first_name", "last_name")
_EVENT: Final = ("event_type", "channel", "step_number", "occurred_at", "provider", "provider_event_id")


def _event_row(event: Any, contact: Any) -> Row:  # noqa: ANN401  see _enrollment_row
    return {
        "event_id": event.id,
        "campaign_id": event.campaign_id,
        "enrollment_id": event.enrollment_id,
        **{name: getattr(contact, name) for name in _PERSON},
        **{name: getattr(event, name) for name in _EVENT},
        "created_at": event.created_at,
        "metadata": event.details,
    }


def _messages(session: "Session", campaign_id: UUID, cursor: str | None) -> _Page:
    from db.services.enrollments import words  # noqa: PLC0415  see export

    if cursor is not None and cursor.startswith(_REPLIES):  # which follow the steps
        replies = words.list_replies(
            session, campaign_id=campaign_id, limit=_PAGE, cursor=cursor.removeprefix(_REPLIES) or None
        )
        following = replies.next_cursor and _REPLIES + replies.next_cursor
        return [_reply_row(row.message, row.body) for row in replies.rows], following
    page = words.list_(session, campaign_id=campaign_id, limit=_PAGE, cursor=cursor)
    return [_message_row(row.action, row.words) for row in page.rows], page.next_cursor or _REPLIES


_REPLIES: Final = "replies:"


def _reply_row(message: Any, body: str | None) -> Row:  # noqa: ANN401  see _enrollment_row
    """Returns a reply, which has no step."""
    return {
        "action_id": None,
        "campaign_id": message.campaign_id,
        "enrollment_id": message.enrollment_id,
        **dict.fromkeys(_MESSAGE),
        "channel": message.channel,
        "status": message.status,
        "sent_at": message.occurred_at if message.status == "sent" else None,
        "internet_message_id": message.internet_message_id,
        "subject": message.subject,
        "body": body,
    }


_MESSAGE: Final = ("step_number", "channel", "a_b_variant", "status", "claimed_at", "sent_at", "sent_to")


def _message_row(action: Any, words: Any) -> Row:  # noqa: ANN401  see _enrollment_row
    return {
        "action_id": action.id,
        "campaign_id": action.campaign_id,
        "enrollment_id": action.enrollment_id,
        **{name: getattr(action, name) for name in _MESSAGE},
        "internet_message_id": words.internet_message_id,
        "subject": words.subject,
        "body": words.body,
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
        ("event_id", "campaign_id", "enrollment_id", *_PERSON, *_EVENT, "created_at", "metadata"),
    ),
    What.MESSAGES: (
        _messages,
        ("action_id", "campaign_id", "enrollment_id", *_MESSAGE, "internet_message_id", "subject", "body"),
    ),
}
