"""A CSV as rows of contact fields."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from db.domain.contacts import CONTACT_ADDRESSES, CONTACT_TEXTS
from db.domain.errors import InvalidInput

MAX_FILE_BYTES: Final = 67_108_864
COLUMNS_MAX: Final = 1_000
_NAME_MAX: Final = 100
_SHOWN: Final = 10
_TOO_LARGE: Final = f"the file is over {MAX_FILE_BYTES:,} bytes. Split it."
_NOT_UTF_8: Final = "the file is not UTF-8. Save it as CSV UTF-8."


def read_allowed(path: str, directories: Sequence[Path]) -> str:
    """Returns the text of a file under one of `directories`, links followed first. InvalidInput says why it can't be
    read."""
    if not directories:
        raise InvalidInput("path: files are not read here. Give csv, or set SALES_AUTOMATION_IMPORT_DIRECTORIES.")
    try:
        real = Path(path).resolve()
        if not any(real.is_relative_to(directory.resolve()) for directory in directories):
            raise InvalidInput("path: outside the directories of SALES_AUTOMATION_IMPORT_DIRECTORIES.")
        if not real.is_file():
            raise InvalidInput("path: there is no such file.")
        if real.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput(f"path: {_TOO_LARGE}")
        return real.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"path: {_NOT_UTF_8}") from None
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL in the name, no permission
        raise InvalidInput("path: the file can't be read.") from None


def decode(content: bytes) -> str:
    """Returns the text of a file that was read. InvalidInput says why it can't be taken."""
    if len(content) > MAX_FILE_BYTES:
        raise InvalidInput(_TOO_LARGE)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(_NOT_UTF_8) from None


class Record(NamedTuple):
    """A row under the header: the line of the file that it starts on, its cells, and what `parse` makes of it."""

    line: int
    cells: list[str]
    fields: dict[str, Any] | str


class Table(NamedTuple):
    """`columns` as the header names them. Rows without any text are left out."""

    columns: list[str]
    records: list[Record]


def parse(text: str, mapping: Mapping[str, str]) -> list[dict[str, Any] | str]:
    """Returns each row under the header as arguments of a contact, or the reason why it is none. InvalidInput if
    unreadable."""
    return [record.fields for record in read_table(text, mapping).records]


def read_table(text: str, mapping: Mapping[str, str]) -> Table:
    """Returns all of a CSV; `mapping` is column -> contact field, or the name of an attribute. InvalidInput if
    unreadable."""
    text = text.removeprefix("\ufeff")
    lines = _lines(text, max(",;\t", key=lambda each: _width(text, each)))
    _, header = next(lines, (1, list[str]()))
    if not any(cell.strip() for cell in header):
        raise InvalidInput("csv: the first line must name the columns, such as email,first_name.")
    if len(header) > COLUMNS_MAX:
        raise InvalidInput(f"csv: the first line names {len(header):,} columns, and may name {COLUMNS_MAX:,}.")
    names = _names(header, mapping)
    filled = ((line, cells) for line, cells in lines if any(cell.strip() for cell in cells))
    return Table(header, [Record(line, cells, _row(names, cells)) for line, cells in filled])


def _width(text: str, delimiter: str) -> int:
    """Returns how many columns a delimiter makes of the header; 0 where it fits none, as a comma does not fit
    "a";"b"."""
    try:
        return len(next(_lines(text, delimiter), (1, list[str]()))[1])
    except InvalidInput:
        return 0


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Returns (line of the file, from 1, on which the row starts; its cells): quoted cells may go over several
    lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidInput(f"csv: can't be read: the row on line {line}: {error}.") from None


def _names(header: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    wanted = {column.strip().casefold(): field for column, field in mapping.items()}
    given = [cell.strip() for cell in header]
    missing = wanted.keys() - {cell.casefold() for cell in given}
    if missing:
        raise InvalidInput(f"mapping: no such column: {_listed(missing)}.")
    names = [wanted.get(cell.casefold(), _field(cell)) for cell in given]
    if frozenset(CONTACT_ADDRESSES).isdisjoint(names):
        # They are not named: where a header is missing, they are somebody's data.
        raise InvalidInput("csv: no column is called email or linkedin_url. Say with mapping which one it is.")
    twice = {name for name, count in Counter(names).items() if name and count > 1}
    if twice:
        raise InvalidInput(f"csv: two columns for {_listed(twice)}. Rename one, or use mapping.")
    return names


def _listed(names: Collection[str]) -> str:
    """Returns the first of them, and each no longer than a name is."""
    shown = [name[:_NAME_MAX] for name in sorted(names)[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _field(column: str) -> str:
    field = column.casefold().replace(" ", "_")
    return field if field in CONTACT_TEXTS else column


def _row(names: Sequence[str], cells: Sequence[str]) -> dict[str, Any] | str:
    if len(cells) > len(names):
        return "more cells than the header has columns"
    filled = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name and cell.strip()}
    fields: dict[str, Any] = {name: cell for name, cell in filled.items() if name in CONTACT_TEXTS}
    attributes = {name: cell for name, cell in filled.items() if name not in CONTACT_TEXTS}
    return {**fields, "attributes": attributes} if attributes else fields
