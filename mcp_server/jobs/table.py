"""A CSV as rows of contact fields."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from db.domain.errors import InvalidInput

FIELDS: Final = frozenset({"email", "linkedin_url", "first_name", "last_name", "company", "title", "timezone"})
MAX_FILE_BYTES: Final = 67_108_864


def read_allowed(path: str, directories: Sequence[Path]) -> str:
    """The text of a file under one of `directories`, links followed first. InvalidInput says why it can't be read."""
    if not directories:
        raise InvalidInput("path: files are not read here. Give csv, or set SALES_AUTOMATION_IMPORT_DIRECTORIES.")
    try:
        real = Path(path).resolve()
        if not any(real.is_relative_to(directory.expanduser().resolve()) for directory in directories):
            raise InvalidInput("path: outside the directories of SALES_AUTOMATION_IMPORT_DIRECTORIES.")
        if not real.is_file():
            raise InvalidInput("path: there is no such file.")
        if real.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput(f"path: the file is over {MAX_FILE_BYTES:,} bytes. Split it.")
        return real.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("path: the file is not UTF-8. Save it as CSV UTF-8.") from None
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL in the name, no permission
        raise InvalidInput("path: the file can't be read.") from None


def parse(text: str, mapping: Mapping[str, str]) -> list[dict[str, Any] | str]:
    """Each row under the header as arguments of a contact, or the reason why it is none. InvalidInput if unreadable."""
    text = text.removeprefix("\ufeff")
    delimiter = max(",;", key=lambda each: len(next(_lines(text, each), list[str]())))
    lines = _lines(text, delimiter)
    header = next(lines, list[str]())
    if not any(cell.strip() for cell in header):
        raise InvalidInput("csv: the first line must name the columns, such as email,first_name.")
    names = _names(header, mapping)
    return [_row(names, cells) for cells in lines if any(cell.strip() for cell in cells)]


def _lines(text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise InvalidInput(f"csv: can't be read: {error}.") from None


def _names(header: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    wanted = {column.strip().casefold(): field for column, field in mapping.items()}
    given = [cell.strip() for cell in header]
    missing = wanted.keys() - {cell.casefold() for cell in given}
    if missing:
        raise InvalidInput(f"mapping: no such column: {', '.join(sorted(missing))}.")
    names = [wanted.get(cell.casefold(), _field(cell)) for cell in given]
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise InvalidInput(f"csv: two columns for {', '.join(sorted(twice))}. Rename one, or use mapping.")
    return names


def _field(column: str) -> str:
    field = column.casefold().replace(" ", "_")
    return field if field in FIELDS else column


def _row(names: Sequence[str], cells: Sequence[str]) -> dict[str, Any] | str:
    if len(cells) > len(names):
        return "more cells than the header has columns"
    filled = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name and cell.strip()}
    fields: dict[str, Any] = {name: cell for name, cell in filled.items() if name in FIELDS}
    attributes = {name: cell for name, cell in filled.items() if name not in FIELDS}
    return {**fields, "attributes": attributes} if attributes else fields
