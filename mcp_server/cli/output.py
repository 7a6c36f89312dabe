"""Small tables on stdout, of texts that may come from anybody."""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_WIDTH: Final = 200  # where stdout is no terminal, so that nothing is cut off


def plain(value: object) -> str:
    """As one line of text that a terminal only shows: what would move its cursor, colour it or turn it around is left
    out."""
    return "".join(_shown(character) for character in str(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns under their names, in colour on a terminal."""
    # Imported here: half of the commands never draw anything.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text("" if value is None else plain(value), overflow="fold") for value in row))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def _shown(character: str) -> str:
    if character in "\r\n\t":
        return " "
    return "" if unicodedata.category(character) in {"Cc", "Cf", "Cs"} else character
