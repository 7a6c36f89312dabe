"""The report of an import: which rows were not imported, and how the file was read."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import typer

from mcp_server.cli.session import complain

if TYPE_CHECKING:
    from mcp_server.jobs.import_rows import Answer
    from mcp_server.jobs.people_files import Record, Table

_SHOWN: Final = 10
_OF_CAMPAIGN: Final = ("enrolled", "already_enrolled", "suppressed")


class Rejects:
    """Rows that were not imported: all of them in the error file, unchanged, and the first few in memory. Also the
    first few imported rows that have a warning."""

    def __init__(self, table: "Table", sheet: BinaryIO | None, *, is_list: bool = False) -> None:
        self.is_list = is_list
        self.number = 0
        self.first: list[tuple[int, str]] = []
        self.told = Counter[str]()
        self.first_told: list[tuple[int, str]] = []
        self._sheet = sheet
        self._write(["line", "status", "reason", *table.columns])

    def judge(self, record: "Record", verdict: dict[str, Any]) -> None:
        """Notes the verdict on a row."""
        status, reason = verdict["status"], verdict.get("reason")
        if status == "invalid" or (status == "suppressed" and not self.is_list):
            self._reject(record, status, reason or status)
        elif status == "opted_out":
            self._tell(record, "opted_out", reason or status)
        elif reason is not None:
            self._tell(record, "kept_besides", reason)
        for warning in verdict.get("warnings", ()):
            self._tell(record, "warnings", warning)

    def _reject(self, record: "Record", status: str, reason: str) -> None:
        self.number += 1
        if len(self.first) < _SHOWN:
            self.first.append((record.line, reason))
        self._write([str(record.line), status, reason, *record.cells])

    def _tell(self, record: "Record", kind: str, reason: str) -> None:
        self.told[kind] += 1
        if self.told.total() <= _SHOWN:
            self.first_told.append((record.line, reason))

    def _write(self, cells: Sequence[str]) -> None:
        if self._sheet is None:
            return
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._sheet.write(text.getvalue().encode("utf-8", "surrogatepass"))


def tell(
    table: "Table",
    answer: "Answer",
    rejects: Rejects,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Writes the result of an import."""
    from mcp_server.jobs.import_rows import COUNTED, COUNTED_OF_LISTS  # noqa: PLC0415  `--help` needs none of it

    counts = {name: answer.counts[name] for name in (COUNTED_OF_LISTS if rejects.is_list else COUNTED)}
    if as_json:
        from pydantic_core import to_json  # noqa: PLC0415  `--help` needs none of it

        told = {
            "rejected": rejects.number,
            "kept_besides": rejects.told["kept_besides"],
            "warnings": rejects.told["warnings"],
        }
        shown = {"rows_total": len(table.records), **counts, **told, "dry_run": dry_run, **table.report()}
        typer.echo(to_json(shown))
        return
    for line, reason in (*rejects.first, *rejects.first_told):
        complain(f"line {line}: {reason}")
    if rejects.number > len(rejects.first):
        complain(f"... and {rejects.number - len(rejects.first):,} more. --errors FILE keeps them all.")
    if rejects.told.total() > len(rejects.first_told):
        complain(f"... and {rejects.told.total() - len(rejects.first_told):,} more of rows that were taken.")
    for note in table.notes:
        complain(note)
    if dry_run:
        typer.echo("Dry run: nothing was kept.")
    for title, *names in _lines(table, counts, is_list=rejects.is_list):
        listed = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in names)
        typer.echo(f"{title}: {listed}")
    _tell_columns(table)


def _lines(table: "Table", counts: dict[str, int], *, is_list: bool) -> list[list[str]]:
    """Returns the lines of a title and its counts."""
    rows = f"{len(table.records):,} rows"
    if is_list:
        return [[rows, *counts]]
    lines = [[rows, "created", "updated", "invalid"]]
    if counts["opted_out"]:
        lines.append(["Not to be written to", "opted_out"])
    if any(counts[name] for name in _OF_CAMPAIGN):
        lines.append(["Campaign", *_OF_CAMPAIGN])
    return lines


def _tell_columns(table: "Table") -> None:
    report = table.report()
    typer.echo("Columns: " + ", ".join(f"{name}={column}" for name, column in report["mapping"].items()))
    for name, columns in report.get("stand_ins", {}).items():
        typer.echo(f"Where {name} is empty: {', '.join(map(str, columns))}")
    if report["attributes"]:
        typer.echo(f"Attributes: {', '.join(report['attributes'])}")
