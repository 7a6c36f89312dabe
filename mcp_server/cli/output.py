"""Small tables on stdout, whose texts may come from anybody."""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_WIDTH: Final = 200  # the width if stdout is not a terminal, so that nothing is cut off


def plain(value: object) -> str:
    """Returns the text as one line that is safe for a terminal, without characters that move the cursor, change colours
    or reverse the text."""
    return "".join(_shown(character) for character in str(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints columns under their names, in colour on a terminal."""
    # Imported here, since half of the commands draw nothing.
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
