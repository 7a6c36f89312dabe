"""Finds the separator of a file's cells, and the line of its headings.

It tries each separator with each of the first lines. The best combination has the most known headings; next, its rows
have as many cells as the headings. So commas within a heading do not count as separators, and notes above the headings
are skipped.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from db.domain.addresses import bare_address
from db.domain.contacts import CONTACT_ADDRESSES
from db.domain.errors import InvalidInput
from mcp_server.jobs.people_files.columns import Mapping
from mcp_server.jobs.people_files.headings import DOMAIN, key, place
from mcp_server.jobs.people_files.lines import SEPARATORS, Row, first_rows, told_separator

_ROWS_TRIED: Final = 40
_HEADINGS_TRIED: Final = 25
_CELL_TRIED: Final = 400
_BREAK: Final = re.compile(r"[\s,;|]")


class Layout(NamedTuple):
    """`start` is the index of the line on which the rows begin, and `sample` has the first rows. `heading_line` is
    counted from 1; None if the file has no headings and its columns are named by number."""

    separator: str
    headings: list[str]
    heading_line: int | None
    start: int
    sample: list[list[str]]


class _Trial(NamedTuple):
    """How well a line fits as headings. Compared in order: each part counts only if those before it are equal."""

    has_address: bool
    known: int
    agreeing: int
    is_earlier: int
    separator: str
    row: Row
    below: list[Row]


def find_layout(lines: Sequence[str], mapping: Mapping, *, has_domains: bool = False) -> Layout:
    """Returns the layout of a file. InvalidInput if it is empty."""
    told = told_separator(lines)
    first = 1 if told else 0
    wanted = {key(str(column)) for column in mapping.values()} - {""}
    by_separator = {separator: first_rows(lines[first:], separator, _ROWS_TRIED) for separator in told or SEPARATORS}
    trials = [
        trial
        for separator, rows in by_separator.items()
        for trial in _trials(separator, rows, wanted, has_domains=has_domains)
    ]
    if not trials:
        raise InvalidInput("csv: the first line must name the columns, such as email,first_name.")
    best = max(trials, key=lambda trial: trial[:4])
    if not best.has_address:
        best = max((trial for trial in trials if trial.is_earlier == 0), key=_as_first)
        if _is_person(best.row.cells) or (has_domains and _is_domain(best.row.cells)):
            return _without_headings(best, first, mapping, is_list=has_domains)
    start = first + best.below[0].line - 1 if best.below else len(lines)
    sample = [row.cells for row in best.below]
    return Layout(best.separator, best.row.cells, first + best.row.line, start, sample)


def _as_first(trial: _Trial) -> tuple[bool, int, int, int]:
    """Returns how well a separator fits the first line of a file without known headings."""
    cells = trial.row.cells
    return _is_person(cells), trial.known, trial.agreeing, len(cells)


def _trials(separator: str, rows: list[Row], wanted: set[str], *, has_domains: bool) -> Iterator[_Trial]:
    addresses = {*CONTACT_ADDRESSES, *((DOMAIN,) if has_domains else ())}
    has_people_above = False
    for index, row in enumerate(rows[:_HEADINGS_TRIED]):
        is_person = _is_person(row.cells)
        places = [place(cell) for cell in row.cells]
        names = {named.field for named in places if named is not None and named.is_sure}
        mapped = sum(key(cell) in wanted for cell in row.cells)
        known = len(names) + mapped + sum(named is not None and not named.is_sure for named in places)
        below = rows[index + 1 :]
        width = len(row.cells)
        agreeing = sum(len(other.cells) == width for other in below) if width > 1 else 0
        has_address = not is_person and bool(names & addresses or mapped or (known and _has_person(below)))
        if index == 0 or (has_address and not (has_people_above and known < 2)):
            yield _Trial(has_address, known, agreeing, -index, separator, row, below)
        has_people_above = has_people_above or is_person


def _has_person(rows: Sequence[Row]) -> bool:
    return any(_is_person(row.cells) for row in rows)


def _is_person(cells: Sequence[str]) -> bool:
    """Returns whether a cell is an address, so that the row is about a person and not a row of headings."""
    return any(_is_address(cell) for cell in cells if len(cell) <= _CELL_TRIED)


def _is_address(cell: str) -> bool:
    if "linkedin.com/in/" in cell.lower():
        return True
    name, _, domain = bare_address(cell).rpartition("@")
    return bool(name) and "." in domain and _BREAK.search(name + domain) is None


def _is_domain(cells: Sequence[str]) -> bool:
    """Returns whether a line of a list is a domain rather than a heading."""
    return len(cells) == 1 and "." in cells[0] and _BREAK.search(cells[0].strip()) is None


def _without_headings(trial: _Trial, first: int, mapping: Mapping, *, is_list: bool) -> Layout:
    """Returns the layout of a file without headings: one with a mapping by numbers, or a list of addresses."""
    rows = [trial.row, *trial.below]
    width = max(len(row.cells) for row in rows)
    if width == 1 or (is_list and not mapping):
        holder = next((column for column, cell in enumerate(trial.row.cells) if _is_address(cell)), 0)
        named = {holder: "linkedin_url" if "linkedin.com" in trial.row.cells[holder].lower() else "email"}
    elif mapping and all(str(column).strip().isdecimal() for column in mapping.values()):
        named = {}
    else:
        raise InvalidInput(
            "csv: the first line tells of a person, where it must name the columns. Put a line such as "
            "email,first_name above it, or say with mapping which column is which by number, such as email=1."
        )
    headings = [named.get(column, f"column {column + 1}") for column in range(width)]
    return Layout(trial.separator, headings, None, first + trial.row.line - 1, [row.cells for row in rows])
