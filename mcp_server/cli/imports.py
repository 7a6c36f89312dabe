"""`import`: contacts from a CSV file, and optionally their enrollment, or suppressions, in chunks."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple
from uuid import UUID

import typer

from db.domain.contacts import CONTACT_TEXTS
from db.domain.states import SuppressionReason
from mcp_server.cli.import_report import Rejects, tell
from mcp_server.cli.session import PARTLY, AsJson, Home, complain, failed, opened, settings_of, unusable
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session
    from mcp_server.jobs.import_rows import Answer
    from mcp_server.jobs.people_files import Mapping, Record, Table


cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")


class What(StrEnum):
    """The kind of rows in a file."""

    CONTACTS = "contacts"
    SUPPRESSIONS = "suppressions"


class _DryRun(Exception):
    """Ends a dry run without a commit, and carries its answer. It is not an error."""

    def __init__(self, answer: "Answer") -> None:
        super().__init__()
        self.answer = answer


@cli.command(
    "import",
    help=f"""Import contacts from a CSV file, and enroll them with --campaign; or suppressions.

    Headings are known as LinkedIn, CRMs, mail programs and spreadsheets write them. They fill
    {", ".join(CONTACT_TEXTS[:-1])} and {CONTACT_TEXTS[-1]}; all other columns become attributes. Whoever a column says
    not to write to is suppressed. Whoever is known is updated, and nobody is enrolled twice: an import may be repeated.
    """,
    epilog="Exit codes: 0 every row was taken, 1 failed on the way, 2 the command or the file can't be used, "
    "3 some rows were rejected: invalid, or suppressed and so not enrolled.",
)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a line of headings; - reads stdin.")],
    campaign: Annotated[
        UUID | None, typer.Option(help="Enroll the people in it; with --as suppressions, leave them out of it alone.")
    ] = None,
    kind: Annotated[What, typer.Option("--as", help="What the rows are.")] = What.CONTACTS,
    reason: Annotated[
        SuppressionReason, typer.Option(help="Of suppressions, where no column tells it.")
    ] = SuppressionReason.MANUAL,
    mapping: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="Such as email=Mail or email=3. It wins over headings; repeatable."),
    ] = None,
    suppress_where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Whose cell says that nobody may write to them; repeatable."),
    ] = None,
    no_opt_out: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Seems to say whom not to write to, and does not; repeatable."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Such as cp1252, where the file does not tell it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and keep nothing.")] = False,
    errors: Annotated[
        Path | None, typer.Option(help="Write the rejected rows to this CSV, with their line and the reason.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    settings = settings_of(home=home)
    if settings.read_only:
        raise failed("SALES_AUTOMATION_READ_ONLY is set. Nothing was done.")
    is_list = kind is What.SUPPRESSIONS
    told = {"suppress_where": suppress_where or [], "ignored_opt_outs": no_opt_out or [], "encoding": encoding}
    table = _read(file, mapping or [], **told, is_list_of_suppressions=is_list)
    with _error_file(errors, file) as sheet, opened(settings) as app, _progress(len(table.records)) as advance:
        rejects = Rejects(table, sheet, is_list=is_list)
        take = _suppressing(app, campaign, reason) if is_list else _taking(app, campaign)
        total = _take_all(app, table, take, dry_run=dry_run, rejects=rejects, advance=advance)
    tell(table, total, rejects, dry_run=dry_run, as_json=as_json)
    if rejects.number:
        raise typer.Exit(PARTLY)


class _Take(NamedTuple):
    """The function that imports rows, and the campaign for its audit entry."""

    rows: "Callable[[Session, Sequence[Record], datetime], Answer]"
    campaign_id: UUID | None = None


def _taking(app: App, campaign_id: UUID | None) -> _Take:
    from mcp_server.jobs.import_rows import take_in  # noqa: PLC0415  see _read

    _look_up(app, campaign_id)

    def take(session: "Session", records: "Sequence[Record]", now: datetime) -> "Answer":
        return take_in(session, campaign_id, 0, records, now)

    return _Take(take, campaign_id)


def _suppressing(app: App, campaign_id: UUID | None, reason: SuppressionReason) -> _Take:
    from mcp_server.jobs.import_rows import suppress_rows  # noqa: PLC0415  see _read

    _look_up(app, campaign_id)

    def take(session: "Session", records: "Sequence[Record]", _: datetime) -> "Answer":
        return suppress_rows(session, campaign_id, 0, records, reason)

    return _Take(take, campaign_id)


def _look_up(app: App, campaign_id: UUID | None) -> None:
    """Refuses an unknown campaign before any row is imported."""
    from db.services.campaigns import campaigns  # noqa: PLC0415  see _read

    if campaign_id is not None:
        app.run("campaign", lambda session: campaigns.get(session, campaign_id=campaign_id), read_only=True)


def _read(file: Path, mapping: Sequence[str], **options: Any) -> "Table":  # noqa: ANN401  as read_table takes them
    from db.domain.errors import InvalidInput  # noqa: PLC0415  `--help` needs none of it
    from mcp_server.jobs.people_files import read_table  # noqa: PLC0415  see above

    columns = _mapping(mapping)
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return read_table(content, columns, **options)
    except OSError as error:
        raise unusable(f"{file} can't be read: {error.strerror}.") from None
    except InvalidInput as error:
        raise unusable(f"{file}: {error}") from None


def _mapping(pairs: Sequence[str]) -> "Mapping":
    columns: dict[str, str] = {}
    for pair in pairs:
        field, found, column = pair.partition("=")
        if not (found and field.strip() and column.strip()):
            raise unusable(f"--mapping {pair}: write FIELD=COLUMN, such as email=Mail.")
        if field.strip() in columns:
            raise unusable(f"--mapping {pair}: {field.strip()} has a column already. Leave one out.")
        columns[field.strip()] = column
    return columns


@contextmanager
def _error_file(path: Path | None, source: Path) -> Generator[BinaryIO | None]:
    from mcp_server.cli.files import open_private  # noqa: PLC0415  see _read

    if path is None:
        yield None
        return
    try:
        if path.exists() and source.exists() and path.samefile(source):
            raise unusable("--errors names the file that is imported. Choose another.")
        sheet = open_private(path)
    except OSError as error:
        raise unusable(f"{path} can't be written: {error.strerror}.") from None
    with sheet:
        yield sheet


@contextmanager
def _progress(total: int) -> Generator[Callable[[int], None]]:
    """Yields a function that takes the number of rows that are done. It draws a progress bar if stderr is a
    terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415  needed on a terminal alone
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("Importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def _take_all(
    app: App,
    table: "Table",
    take: _Take,
    *,
    dry_run: bool,
    rejects: Rejects,
    advance: Callable[[int], None],
) -> "Answer":
    from db.domain.errors import SalesAutomationError  # noqa: PLC0415  see _read
    from mcp_server.jobs.import_rows import Answer  # noqa: PLC0415  see _read
    from mcp_server.jobs.imports import CHUNK_ROWS  # noqa: PLC0415  see _read

    total = Answer()
    done = 0
    records = table.records
    try:
        for done in range(0, len(records), CHUNK_ROWS):
            chunk = records[done : done + CHUNK_ROWS]
            answer = _take_chunk(app, take, chunk, dry_run=dry_run)
            total.counts.update(answer.counts)
            for verdict in answer.rows:
                row: int = verdict["row"]
                rejects.judge(chunk[row], verdict)
            advance(done + len(chunk))
    except (SalesAutomationError, KeyboardInterrupt, SystemExit) as error:
        if not dry_run and (done or not isinstance(error, SalesAutomationError)):
            # The commit of the last rows may have been in progress.
            complain(f"at least {done:,} of {len(records):,} rows were done. Repeat it: they are not doubled.")
        if isinstance(error, SalesAutomationError):
            raise failed(str(error)) from None
        raise
    return total


def _take_chunk(app: App, take: _Take, chunk: "Sequence[Record]", *, dry_run: bool) -> "Answer":
    from mcp_server.calls.caller import LOCAL, Invocation  # noqa: PLC0415  see _read
    from mcp_server.jobs.imports import note  # noqa: PLC0415  see _read

    now = app.clock()
    about = {"campaign_id": take.campaign_id} if take.campaign_id else {}

    def work(session: "Session") -> "Answer":
        answer = take.rows(session, chunk, now)
        if dry_run:
            raise _DryRun(answer)
        note(session, Invocation(LOCAL, about, token_hex(8)), now)
        return answer

    try:
        return app.run("import", work)
    except _DryRun as undone:
        return undone.answer
