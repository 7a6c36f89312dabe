"""What a prompt is: its arguments, and the text that is made for them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from db.domain.errors import InvalidInput
from mcp_server.offers.prompts.texts import Values, fill


@dataclass(frozen=True, slots=True)
class Argument:
    """`read` makes a value of what a person typed, or raises InvalidInput.

    completes: the noun whose ids fit. choices: values to propose at that moment, where they are few.
    """

    name: str
    description: str
    read: Callable[[str, str], object]
    required: bool = False
    completes: str | None = None
    choices: Callable[[datetime], list[str]] | None = None


def _as_given(values: Values, now: datetime) -> Values:  # noqa: ARG001  the shape of Prompt.derive
    return values


@dataclass(frozen=True, slots=True)
class Prompt:
    """Its text is NAME.md. derive: what the text needs beyond the arguments, such as the days of a week."""

    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    derive: Callable[[Values, datetime], Values] = _as_given

    def render(self, given: Mapping[str, str], *, tools: Collection[str], now: datetime) -> str:
        """Returns the text for these arguments, which names `tools` alone. InvalidInput says which argument is
        wrong."""
        text = Path(__file__).with_name(f"{self.name}.md").read_text("utf-8")
        return fill(text, self.derive(self._read(given), now), tools)

    def _read(self, given: Mapping[str, str]) -> Values:
        known = {argument.name: argument for argument in self.arguments}
        # A form that a person left empty arrives as empty texts.
        typed = {name: value.strip() for name, value in given.items() if value.strip()}
        unknown = sorted(set(typed) - set(known))
        if unknown:
            raise InvalidInput(f"{self.name} has no argument {', '.join(unknown)}. It has: {', '.join(known)}.")
        missing = [name for name, argument in known.items() if argument.required and name not in typed]
        if missing:
            raise InvalidInput(f"{self.name} needs {', '.join(missing)}: {known[missing[0]].description}")
        return {name: known[name].read(name, value) for name, value in typed.items()}
