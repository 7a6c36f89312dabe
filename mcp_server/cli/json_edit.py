"""Changes to one entry of a JSON text that leave every other character of it as it is."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = " \t\r\n"


class Member(NamedTuple):
    """A member of an object: where its key starts, and where its value starts and ends in the text."""

    name: str
    start: int
    value: int
    end: int


def parse(text: str) -> Any:  # noqa: ANN401  any JSON
    """The value of a JSON text. ValueError says what is wrong, and where."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def put(text: str, path: tuple[str, ...], value: Mapping[str, Any]) -> str:
    """The text with `value` at `path`, in the place of what was there or as the last member of its object.

    `text` is valid JSON, and whatever stands on the way of `path` is an object.
    """
    at = _start(text)
    unit = _unit(text, at)
    for depth, name in enumerate(path):
        member = _last(text, at, name)
        if member is None:
            for outer in reversed(path[depth + 1 :]):
                value = {outer: value}
            return _append(text, at, name, value, unit, depth)
        if depth == len(path) - 1:
            margin = _margin(text, member.start)
            return text[: member.value] + _dump(value, margin, unit, _newline(text)) + text[member.end :]
        at = member.value
    raise AssertionError("unreachable: the path has a name")


def remove(text: str, path: tuple[str, ...]) -> str:
    """The text without the member at `path`, which is there; written twice, it is removed twice."""
    while True:
        at = _start(text)
        for name in path[:-1]:
            member = _last(text, at, name)
            if member is None:
                return text
            at = member.value
        members = list(_members(text, at))
        index = next((index for index, member in enumerate(members) if member.name == path[-1]), None)
        if index is None:
            return text
        if index > 0:  # with the comma before it
            start, end = members[index - 1].end, members[index].end
        elif len(members) > 1:  # with the comma behind it
            start, end = members[0].start, members[1].start
        else:
            start, end = at + 1, _skip(text, members[0].end)
        text = text[:start] + text[end:]


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _start(text: str) -> int:
    return _skip(text, 0)


def _members(text: str, at: int) -> Iterator[Member]:
    """The members of the object that starts at `at`."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, end) + 1)
        _, end = _DECODER.raw_decode(text, value)
        yield Member(name, at, value, end)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _last(text: str, at: int, name: str) -> Member | None:
    """The member that counts: of several under one name, readers take the last."""
    return next((member for member in reversed(list(_members(text, at))) if member.name == name), None)


def _append(text: str, at: int, name: str, value: Mapping[str, Any], unit: str, depth: int) -> str:
    members = list(_members(text, at))
    newline = _newline(text)
    if members:
        before = text[_skip_back(text, members[-1].start) : members[-1].start]
        margin = _margin(text, members[-1].start) if "\n" in before else unit * (depth + 1)
        end = members[-1].end
        lead = "," + (before if "\n" in before else newline + margin)
        return f"{text[:end]}{lead}{json.dumps(name)}: {_dump(value, margin, unit, newline)}{text[end:]}"
    margin = unit * (depth + 1)
    member = f"{json.dumps(name)}: {_dump(value, margin, unit, newline)}"
    end = _skip(text, at + 1)
    return f"{text[: at + 1]}{newline}{margin}{member}{newline}{unit * depth}{text[end:]}"


def _skip_back(text: str, at: int) -> int:
    while at > 0 and text[at - 1] in _SPACE:
        at -= 1
    return at


def _margin(text: str, at: int) -> str:
    """The blanks in front of what starts at `at`, or of its line."""
    line = text.rfind("\n", 0, at) + 1
    return text[line : _indent_end(text, line)]


def _indent_end(text: str, line: int) -> int:
    while line < len(text) and text[line] in " \t":
        line += 1
    return line


def _unit(text: str, at: int) -> str:
    """What one level is indented by, as the first member shows it."""
    first = next(_members(text, at), None)
    return (_margin(text, first.start) if first and "\n" in text[at : first.start] else "") or "  "


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _dump(value: object, margin: str, unit: str, newline: str) -> str:
    lines = json.dumps(value, indent=unit).split("\n")
    return (newline + margin).join(lines)
