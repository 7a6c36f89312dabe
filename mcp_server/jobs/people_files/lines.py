"""The rows of a CSV, with the line on which each starts. A malformed row loses only its line; reading continues after
it."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, Self

from mcp_server.jobs.people_files.files import MAX_FILE_BYTES

SEPARATORS: Final = ",;\t|"
MOST_LINES: Final = 1_000
"""How many lines a row may span."""
_FEW_LINES: Final = 10
# Where so many lines were read for rows that were none, quotes are opened everywhere, and each would cost MOST_LINES.
_LINES_REREAD: Final = 200_000
# With the library's limit, one long cell would end the file. The size of files is limited elsewhere.
csv.field_size_limit(MAX_FILE_BYTES)


class Row(NamedTuple):
    """The cells of a row, and the line on which it starts, counted from 1. `fault` says what is malformed."""

    line: int
    cells: list[str]
    fault: str | None = None


def lines_of(text: str) -> list[str]:
    """Returns the lines of a text, with their ends. Unlike str.splitlines, it does not split at Unicode's line
    separators."""
    return list(io.StringIO(text.removeprefix("\ufeff"), newline=""))


def told_separator(lines: Sequence[str]) -> str | None:
    """Returns the separator that the first line gives for Excel, as in `sep=;`."""
    first = lines[0].strip("\r\n").strip('"') if lines and len(lines[0]) < 20 else ""
    return first[4] if len(first) == 5 and first[:4].lower() == "sep=" else None


def first_rows(lines: Sequence[str], separator: str, most: int) -> list[Row]:
    """Returns the first rows that are not empty. A line with an unclosed quote counts as a row, too."""
    rows = (row for row in rows_of(lines, 0, separator) if any(cell.strip() for cell in row.cells))
    return list(islice(rows, most))


class _TooLongError(Exception):
    """A row spans more lines than it may."""


class _Lines:
    """The lines for a reader. `row` is where the present row starts, which may span `most` lines; `next` is the line
    after those that were read."""

    def __init__(self, lines: Sequence[str], start: int, most: int) -> None:
        self.row = self.next = start
        self.most = most
        self._lines = lines

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        at = self.next
        if at == len(self._lines):
            raise StopIteration
        if at - self.row >= self.most:
            raise _TooLongError
        self.next = at + 1
        return self._lines[at]


def rows_of(
    lines: Sequence[str], start: int, separator: str, is_row: Callable[[list[str]], bool] = lambda _: False
) -> Iterator[Row]:
    """Yields the rows from the line with the index `start` on. Quoted cells may span several lines.

    A quote that is never closed would put all lines up to the next quote into one cell. So a row counts as malformed,
    and loses only its first line, in four cases: the reader refuses it, it reaches the end of the file, it spans more
    than MOST_LINES, or `is_row` is true for the line after its first. In a file with very many such rows, those after
    them may span _FEW_LINES.
    """
    reread = 0
    while start < len(lines):
        source = _Lines(lines, start, MOST_LINES if reread < _LINES_REREAD else _FEW_LINES)
        fault = None
        try:
            for cells in csv.reader(source, delimiter=separator, strict=True, skipinitialspace=True):
                at = source.row
                if source.next - at > 1 and is_row(_leniently(lines[at + 1], separator)):
                    fault = "a quote is not closed"
                    break
                source.row = source.next
                yield Row(at + 1, cells)
        except csv.Error as error:
            fault = _fault(error)
        except _TooLongError:
            fault = f"a quote is not closed within {source.most:,} lines"
        if fault is None:
            return
        yield Row(source.row + 1, _leniently(lines[source.row], separator), fault)
        reread += source.next - source.row
        start = source.row + 1


def _leniently(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), list[str]())


def _fault(error: csv.Error) -> str:
    return "a quote is not closed" if "end of data" in str(error) else "a quote stands within a cell and is not doubled"
