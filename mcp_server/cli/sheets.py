"""Rows as CSV that is safe in a spreadsheet, and as exact JSON lines. Both are UTF-8 with LF."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

from pydantic_core import to_json, to_jsonable_python

# Characters that begin a formula in some spreadsheet, with the wide forms of East Asian keyboards.
_SIGNS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
# A cell may begin after each of these in a spreadsheet that does not use the comma as its separator, as in many
# countries. Such a spreadsheet does not see the quotes around a cell that is not the first of its line.
_FORMULA: Final = re.compile(rf"\A(?=[\t\r\n])|(?:\A|(?<=[,;|\t\r\n]))(?=[ \"]*[{_SIGNS}])")
# In JSON these occur only in strings, where a character may be written as a \u escape.
_FORMULA_IN_JSON: Final = re.compile(rf"(?<=[;|])((?: |\\\")*)([{_SIGNS}])")


class CsvSheet:
    """Writes a header and rows. Null is an empty cell, an object is JSON, and no text is a formula."""

    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns
        self._put([list(columns)])

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._put([[_cell(row[column]) for column in self._columns] for row in rows])

    def _put(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())


class JsonLines:
    """Writes one object in each line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._file.write(b"".join(to_json(row) + b"\n" for row in rows))


def neutral(text: str) -> str:
    """Returns the text with an apostrophe before each formula, also after a separator."""
    return _FORMULA.sub("'", text)


def neutral_json(json: str) -> str:
    """Returns JSON of the same value in which no formula begins after a separator."""
    return _FORMULA_IN_JSON.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", json)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return neutral_json(to_json(value).decode())
    return neutral(str(to_jsonable_python(value)))
