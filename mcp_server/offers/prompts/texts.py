"""How the text of a prompt is filled in.

A text is Markdown, in paragraphs and list items. `$name` stands for a value, and `tool(argument, other=$value)` in
backticks for a call. A part that names a tool that is not offered, or uses a value that is not given, is left out; in a
call only the argument is. Items that start with `1.` are numbered.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from string import Template

Values = Mapping[str, object]

_CALL = re.compile(r"(`\w+\([^`]*\)`)")
_ITEM = re.compile(r"(?=^(?:1\.|-) )", re.MULTILINE)


def fill(text: str, values: Values, tools: Collection[str]) -> str:
    """Returns `text` with `values`, naming `tools` alone."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        items = [part for part in _ITEM.split(paragraph) if part]
        filled = [part for item in items if (part := _fill(" ".join(item.split()), values, tools)) is not None]
        if filled:
            lines.append("\n".join(_numbered(filled)))
    return "\n\n".join(lines)


def calls_of(text: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Returns (tool, argument -> the value it is given, None where the reader is to find it) of each call in `text`."""
    for call in _CALL.findall(text):
        name, _, rest = call.strip("`").partition("(")
        pairs = [argument.partition("=") for argument in rest[:-1].split(", ") if argument]
        yield name, {argument: value if is_given else None for argument, is_given, value in pairs}


def _numbered(items: list[str]) -> Iterator[str]:
    number = 0
    for item in items:
        number += item.startswith("1. ")
        yield f"{number}. {item[3:]}" if item.startswith("1. ") else item


def _fill(part: str, values: Values, tools: Collection[str]) -> str | None:
    """Returns one paragraph or item; None where it does not apply."""
    if any(tool not in tools for tool, _ in calls_of(part)):
        return None
    pieces = _CALL.split(part)
    if any(name not in values for piece in pieces[::2] for name in Template(piece).get_identifiers()):
        return None
    pieces[::2] = [Template(piece).substitute(values) for piece in pieces[::2]]
    pieces[1::2] = [_fill_call(piece, values) for piece in pieces[1::2]]
    return "".join(pieces)


def _fill_call(call: str, values: Values) -> str:
    ((name, arguments),) = calls_of(call)
    shown = [_shown(argument, value, values) for argument, value in arguments.items()]
    return f"`{name}({', '.join(filter(None, shown))})`"


def _shown(argument: str, value: str | None, values: Values) -> str | None:
    if value is None:
        return argument
    if not value.startswith("$"):
        return f"{argument}={value}"
    known = values.get(value[1:])
    return None if known is None else f"{argument}={json.dumps(known)}"
