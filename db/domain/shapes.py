"""Shapes of JSON, said for Python and in conditions of SQL/JSON paths, of which CHECKs are made."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast


class Shape(Protocol):
    """What one value must be."""

    def problem(self, value: object, where: str) -> str | None:
        """Returns what is wrong with it, in words that hold nothing of the value."""
        ...

    def violations(self, path: str) -> list[str]:
        """Yields the conditions under which the value at that path is wrong. None of them holds if there is no
        value."""
        ...


@dataclass(frozen=True)
class Text:
    """A text that fits a pattern, which both Python and PostgreSQL read. is_real: what only Python can tell."""

    pattern: str
    is_real: Callable[[str], bool] = bool

    def problem(self, value: object, where: str) -> str | None:
        fits = isinstance(value, str) and re.search(self.pattern, value) and self.is_real(value)
        return None if fits else f"{where} is no such text"

    def violations(self, path: str) -> list[str]:
        return [f'{path}.type() != "string"', f'exists({path} ? (!(@ like_regex "{self.pattern}")))']


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def problem(self, value: object, where: str) -> str | None:
        return None if isinstance(value, bool) else f"{where} is neither true nor false"

    def violations(self, path: str) -> list[str]:
        return [f'{path}.type() != "boolean"']


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def problem(self, value: object, where: str) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
        return None if fits else f"{where} is not a whole number from {self.low} to {self.high}"

    def violations(self, path: str) -> list[str]:
        return [
            f'{path}.type() != "number"', f"{path} < {self.low}", f"{path} > {self.high}", f"{path} != {path}.floor()",
        ]  # fmt: skip


@dataclass(frozen=True)
class List:
    """A list of at most `most` items."""

    item: Shape
    most: int

    def problem(self, value: object, where: str) -> str | None:
        if not isinstance(value, list) or len(cast("list[object]", value)) > self.most:
            return f"{where} is not a list of at most {self.most}"
        return first(self.item.problem(item, f"an item of {where}") for item in cast("list[object]", value))

    def violations(self, path: str) -> list[str]:
        wrong = " || ".join(self.item.violations("@"))
        return [f'{path}.type() != "array"', f"{path}.size() > {self.most}", f"exists({path}[*] ? ({wrong}))"]


@dataclass(frozen=True)
class Object:
    """An object with these fields and no other, of which some are required."""

    fields: Mapping[str, Shape]
    required: Sequence[str] = ()

    def problem(self, value: object, where: str) -> str | None:
        if not isinstance(value, dict):
            return f"{where} is not an object"
        given = cast("dict[str, object]", value)
        if given.keys() - self.fields.keys():
            return f"{where} has an unknown field"
        if missing := [name for name in self.required if name not in given]:
            return f"{where} lacks {missing[0]}"
        return first(self.fields[name].problem(part, f"{where}.{name}") for name, part in given.items())

    def violations(self, path: str) -> list[str]:
        known = " || ".join(f'@.key == "{name}"' for name in self.fields)
        return [
            f'{path}.type() != "object"',
            f"exists({path}.keyvalue() ? (!({known})))",
            *(f"(exists({path}) && !exists({path}.{name}))" for name in self.required),
            *(wrong for name, shape in self.fields.items() for wrong in shape.violations(f"{path}.{name}")),
        ]


def first(problems: Iterable[str | None]) -> str | None:
    """Returns the first that is one."""
    return next((problem for problem in problems if problem is not None), None)
