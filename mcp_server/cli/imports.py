"""`import`: contacts from a CSV file, and optionally their enrollment, in chunks."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final
from uuid import UUID

import typer

from db.domain.contacts import CONTACT_TEXTS
from mcp_server.cli.session import PARTLY, AsJson, Home, complain, failed, opened, settings_of, unusable
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session
    from mcp_server.jobs.csv_rows import Record, Table

_SHOWN: Final = 10
_TAKEN: Final = ("created", "updated", "merged")
_COUNTED: Final = ("created", "updated", "enrolled", "already_enrolled", "suppressed", "invalid")

cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")


class _DryRun(Exception):
    """No error: it carries an answer out of a transaction that must not commit."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.answer = answer


@cli.command(
    "import",
    help=f"""Import contacts from a CSV file, and enroll them with --campaign.

    Columns called {", ".join(CONTACT_TEXTS[:-1])} and {CONTACT_TEXTS[-1]} fill those fields, and all
    others become attributes. Whoever is known is updated, and nobody is enrolled twice: an import may be repeated.
    """,
    epilog="Exit codes: 0 every row was taken, 1 failed on the way, 2 the command or the file can't be used, "
    "3 some rows were rejected: invalid, or suppressed and so not enrolled.",
)
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV in UTF-8 under a line that names the columns; - reads stdin.")
    ],
    campaign: Annotated[UUID | None, typer.Option(help="Enroll the people in this campaign.")] = None,
    mapping: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="Such as email=Mail; repeat it for each field.")
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
    table = _read(file, mapping or [])
    with _error_file(errors, file) as sheet, opened(settings) as app, _progress(len(table.records)) as advance:
        rejects = _Rejects(table, sheet)
        counts = _take_all(app, table, campaign, dry_run=dry_run, rejects=rejects, advance=advance)
    _report(table, counts, rejects, dry_run=dry_run, as_json=as_json)
    if rejects.number:
        raise typer.Exit(PARTLY)


def _read(file: Path, mapping: Sequence[str]) -> "Table":
    from db.domain.errors import InvalidInput  # noqa: PLC0415  `--help` needs none of it
    from mcp_server.jobs.csv_rows import decode, read_table  # noqa: PLC0415  see above

    columns: dict[str, str] = {}
    for pair in mapping:
        field, found, column = pair.partition("=")
        if not (found and field.strip() and column.strip()):
            raise unusable(f"--mapping {pair}: write FIELD=COLUMN, such as email=Mail.")
        columns[column] = field.strip()
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return read_table(decode(content), columns)
    except OSError as error:
        raise unusable(f"{file} can't be read: {error.strerror}.") from None
    except InvalidInput as error:
        raise unusable(f"{file}: {error}") from None


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
    """What takes the number of rows that are done. It draws a bar where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415  needed on a terminal alone
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("Importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


class _Rejects:
    """Rows that were not taken: all of them in the error file as they were given, the first few in memory. And the
    first few that were taken but for an address, which was kept besides."""

    def __init__(self, table: "Table", sheet: BinaryIO | None) -> None:
        self.number = 0
        self.first: list[tuple[int, str]] = []
        self.besides = 0
        self.first_besides: list[tuple[int, str]] = []
        self._sheet = sheet
        self._write(["line", "status", "reason", *table.columns])

    def add(self, record: "Record", status: str, reason: str) -> None:
        self.number += 1
        if len(self.first) < _SHOWN:
            self.first.append((record.line, reason))
        self._write([str(record.line), status, reason, *record.cells])

    def note(self, record: "Record", reason: str) -> None:
        """A row that was taken, with an address that its contact has not taken."""
        self.besides += 1
        if len(self.first_besides) < _SHOWN:
            self.first_besides.append((record.line, reason))

    def _write(self, cells: Sequence[str]) -> None:
        if self._sheet is None:
            return
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._sheet.write(text.getvalue().encode("utf-8", "surrogatepass"))


def _take_all(
    app: App,
    table: "Table",
    campaign_id: UUID | None,
    *,
    dry_run: bool,
    rejects: _Rejects,
    advance: Callable[[int], None],
) -> Counter[str]:
    from db.domain.errors import SalesAutomationError  # noqa: PLC0415  see _read
    from db.services.campaigns import campaigns  # noqa: PLC0415  see _read
    from mcp_server.jobs.imports import CHUNK_ROWS  # noqa: PLC0415  see _read

    counts = Counter[str]()
    if campaign_id is not None:
        app.run("campaign", lambda session: campaigns.get(session, campaign_id=campaign_id), read_only=True)
    records, done = table.records, 0
    try:
        for done in range(0, len(records), CHUNK_ROWS):
            chunk = records[done : done + CHUNK_ROWS]
            answer = _take_chunk(app, campaign_id, chunk, dry_run=dry_run)
            counts.update(answer["counts"])
            for verdict in answer["rows"]:
                row: int = verdict["row"]
                if verdict["status"] in ("invalid", "suppressed"):
                    rejects.add(chunk[row], verdict["status"], verdict.get("reason", verdict["status"]))
                elif verdict["status"] in _TAKEN and "reason" in verdict:
                    rejects.note(chunk[row], verdict["reason"])
            advance(done + len(chunk))
    except (SalesAutomationError, KeyboardInterrupt, SystemExit) as error:
        if not dry_run and (done or not isinstance(error, SalesAutomationError)):
            # The commit of the last rows may have been under way.
            complain(f"at least {done:,} of {len(records):,} rows were done. Repeat it: they are not doubled.")
        if isinstance(error, SalesAutomationError):
            raise failed(str(error)) from None
        raise
    return counts


def _take_chunk(app: App, campaign_id: UUID | None, chunk: "Sequence[Record]", *, dry_run: bool) -> dict[str, Any]:
    from mcp_server.calls.caller import LOCAL, Invocation  # noqa: PLC0415  see _read
    from mcp_server.jobs.imports import note, take_in  # noqa: PLC0415  see _read

    now = app.clock()
    about = {"campaign_id": campaign_id} if campaign_id else {}

    def work(session: "Session") -> dict[str, Any]:
        answer = take_in(session, campaign_id, 0, [record.fields for record in chunk], now)
        if dry_run:
            raise _DryRun(answer)
        note(session, Invocation(LOCAL, about, token_hex(8)), now)
        return answer

    try:
        return app.run("import", work)
    except _DryRun as undone:
        return undone.answer


def _report(table: "Table", counts: Counter[str], rejects: _Rejects, *, dry_run: bool, as_json: bool) -> None:
    total = len(table.records)
    if as_json:
        from pydantic_core import to_json  # noqa: PLC0415  see _read

        shown = {"rows_total": total, **{name: counts[name] for name in _COUNTED}, "rejected": rejects.number}
        shown["kept_besides"] = rejects.besides
        typer.echo(to_json({**shown, "dry_run": dry_run}))
        return
    for line, reason in (*rejects.first, *rejects.first_besides):
        complain(f"line {line}: {reason}")
    if rejects.number > len(rejects.first):
        complain(f"... and {rejects.number - len(rejects.first):,} more. --errors FILE keeps them all.")
    if rejects.besides > len(rejects.first_besides):
        complain(f"... and {rejects.besides - len(rejects.first_besides):,} more whose address was kept besides.")
    if dry_run:
        typer.echo("Dry run: nothing was kept.")
    typer.echo(f"{total:,} rows: {_listed(counts, 'created', 'updated', 'invalid')}")
    if any(counts[name] for name in ("enrolled", "already_enrolled", "suppressed")):
        typer.echo(f"Campaign: {_listed(counts, 'enrolled', 'already_enrolled', 'suppressed')}")


def _listed(counts: Counter[str], *names: str) -> str:
    return ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in names)
