"""Refuses sources of texts that the library's lexer would read in more than linear time.

Its patterns try again from each unclosed opening, each space and each bracket, so that a text of 50,000 characters
could block the interpreter for a minute.
"""

import re
from typing import Final

from liquid.exceptions import LiquidSyntaxError

SPACES_MAX: Final = 200
BRACKETS_MAX: Final = 50

_OPENING: Final = re.compile(r"\{([{%])-?")
_CLOSING: Final = {"{": "}}", "%": "%}"}
_SPACES: Final = re.compile(rf"\s{{{SPACES_MAX + 1}}}")
# What stands between these is no Liquid.
_VERBATIM: Final = {name: re.compile(rf"\{{%-?\s*end{name}\s*-?%\}}") for name in ("raw", "doc")}


def check(source: str) -> None:
    """Raises LiquidSyntaxError if `source` leaves a tag open, or holds one that is empty, nested or spaced out too
    far."""
    at = 0
    while opening := _OPENING.search(source, at):
        kind = opening[1]
        end = source.find(_CLOSING[kind], opening.end())
        if end < 0:
            raise _error(f"expected '{_CLOSING[kind]}' after '{opening[0]}', found the end")
        inside = source[opening.end() : end].removesuffix("-")
        _check_inside(inside)
        at = end + 2
        verbatim = _VERBATIM.get(inside.strip()) if kind == "%" else None
        if verbatim:
            closed = verbatim.search(source, at)
            if closed is None:
                raise _error(f"the tag {inside.strip()} is never closed")
            at = closed.end()


def _check_inside(inside: str) -> None:
    if not inside.strip():
        raise _error("a tag has nothing in it")
    if _SPACES.search(inside):
        raise _error(f"a tag has more than {SPACES_MAX} spaces in a row")
    if inside.count("(") + inside.count("[") > BRACKETS_MAX:
        raise _error(f"a tag has more than {BRACKETS_MAX} brackets")


def _error(message: str) -> LiquidSyntaxError:
    return LiquidSyntaxError(message, token=None)
