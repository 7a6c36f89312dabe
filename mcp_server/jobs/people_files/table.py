"""Reads a file of people: its rows, and a report of how it was read."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from db.domain.contacts import ContactFields
from db.domain.errors import InvalidInput
from mcp_server.jobs.people_files.columns import Columns, Mapping, arrange
from mcp_server.jobs.people_files.encodings import Text, decoded
from mcp_server.jobs.people_files.files import MAX_FILE_BYTES
from mcp_server.jobs.people_files.layout import Layout, find_layout
from mcp_server.jobs.people_files.lines import Row, lines_of, rows_of
from mcp_server.jobs.people_files.opt_outs import Asked, OptOut, Rules, rules_of
from mcp_server.jobs.people_files.people import entry_of, person_of

_NO_MAPPING: Final[Mapping] = {}
_TOLD_ROWS: Final = 2_000


class Record(NamedTuple):
    """A row: the line on which it starts, its cells, and its person, or the reason why it has none.

    `warnings` are about cells that were left out. `besides` are further addresses of the row. `opt_out` says that
    nobody may write to the person, at `besides` neither. `domain` is what a list of suppressions may name instead of a
    person.
    """

    line: int
    cells: list[str]
    person: ContactFields | None
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()
    opt_out: OptOut | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are the meanings of the headings. Empty rows are left out. `notes` say how the file was read if that is
    not obvious."""

    columns: list[str]
    records: list[Record]
    arranged: Columns
    notes: list[str] = field(default_factory=list[str])

    def report(self) -> dict[str, Any]:
        """Returns {"mapping": field -> heading or number, "attributes": names, "stand_ins"?, "opt_outs"?: heading ->
        how many rows it suppresses, "notes"?}."""
        opt_outs = Counter(record.opt_out.heading for record in self.records if record.opt_out is not None)
        more: dict[str, Any] = {"opt_outs": dict(opt_outs)} if opt_outs else {}
        return {**self.arranged.report(), **more, **({"notes": self.notes} if self.notes else {})}


def read_table(
    given: bytes | str,
    mapping: Mapping = _NO_MAPPING,
    *,
    encoding: str | None = None,
    suppress_where: Sequence[str] = (),
    ignored_opt_outs: Sequence[str] = (),
    is_list_of_suppressions: bool = False,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Table:
    """Returns the rows of a CSV, as bytes or text.

    `mapping` is field (or the name of an attribute) -> column, by heading or by number from 1, and wins over headings.
    `suppress_where` (`COLUMN=VALUE`) and `ignored_opt_outs` say which columns mean that people must not be written to.
    `on_rows` gets the number of rows read from time to time, since a large file takes minutes.
    InvalidInput if the file as a whole can't be used; a fault of one row is in its record.
    """
    size = len(given)
    if size > MAX_FILE_BYTES:
        raise InvalidInput(f"the file is over {MAX_FILE_BYTES:,} bytes. Split it.")
    text = decoded(given, encoding) if isinstance(given, bytes) else Text(given, "utf-8")
    lines = lines_of(text.text)
    layout = find_layout(lines, mapping, has_domains=is_list_of_suppressions)
    columns = arrange(layout.headings, mapping, sample=layout.sample, takes_domains=is_list_of_suppressions)
    rules = rules_of(layout.headings, columns.attributes, suppress_where=suppress_where, ignored=ignored_opt_outs)
    reader = _Reader(columns, rules, is_list_of_suppressions)
    rows = rows_of(lines, layout.start, layout.separator, reader.is_row)
    records: list[Record] = []
    for row in rows:
        # Files that were joined repeat the headings.
        if row.cells != layout.headings and any(cell.strip() for cell in row.cells):
            records.append(reader.record(row))
            if len(records) % _TOLD_ROWS == 0:
                on_rows(len(records))
    return Table([*layout.headings], records, columns, _notes(text, layout, reader.ended_empty))


def _notes(text: Text, layout: Layout, ended_empty: int) -> list[str]:
    notes = [text.note] if text.note else []
    if layout.heading_line is None:
        notes.append("The file has no headings: its first line is read as a row.")
    elif layout.heading_line > 1:
        notes.append(f"The headings are on line {layout.heading_line}; what stands above them was passed over.")
    if ended_empty:
        notes.append(f"Empty cells beyond the headings were left out, in {ended_empty:,} rows.")
    return notes


class _Reader:
    """Turns rows into records, and counts those with empty cells beyond the headings."""

    def __init__(self, columns: Columns, rules: Rules, is_list: bool) -> None:
        self.ended_empty = 0
        self._columns = columns
        self._rules = rules
        self._is_list = is_list
        self._width = len(columns.headings)

    def record(self, row: Row) -> Record:
        line, cells, fault = row
        if fault is not None and not self._is_named_address(cells):
            return Record(line, cells, None, f"malformed: {fault}")
        if len(cells) > self._width:
            if any(cell.strip() for cell in cells[self._width :]):
                return Record(line, cells, None, "more cells than the header has columns")
            self.ended_empty += 1
        person = person_of(self._columns, cells)
        opt_out = self._rules.of(cells)
        told = opt_out if isinstance(opt_out, OptOut) else None
        if self._is_list and person.fields is None and (entry := entry_of(self._columns, cells)) is not None:
            somebody = ContactFields(linkedin_url=entry.profile) if entry.profile else None
            return Record(line, cells, somebody, opt_out=told, domain=entry.domain)
        if person.fields is None:
            return Record(line, cells, None, person.reason)
        if isinstance(opt_out, Asked) and not self._is_list:
            return Record(line, cells, None, opt_out.question)
        return Record(line, cells, person.fields, None, person.warnings, person.besides, told)

    def _is_named_address(self, cells: list[str]) -> bool:
        """Returns whether the quotes of a malformed row belong to a name before an address, as in "Ada" <a@b.c>."""
        columns = self._columns.fields.get("email", ())
        given = [cells[column].rstrip() for column in columns if column < len(cells)]
        return len(cells) == self._width and any(cell.endswith(">") and "@" in cell for cell in given)

    def is_row(self, cells: list[str]) -> bool:
        """Returns whether a line is a row of its own: it is as wide as the headings, and has an address in an address
        column."""
        return 1 < self._width == len(cells) and person_of(self._columns, cells).fields is not None
