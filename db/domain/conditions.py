"""Conditions: what must be so for a step to go out to a person. Pure.

A condition is kept with its step as JSON: `fact`, `step_number`, `name`, `is`, `not`, `else` and `wait_hours`.
`problem` says what is wrong with one, and `checks` says the same to the database.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast

from db.domain import field_limits
from db.domain.mail.verdict import MailKind
from db.domain.shapes import Object, Text, Whole, first

Value: TypeAlias = str | bool


class Fact(StrEnum):
    """What a condition asks about: what the person did with a step before, how they replied, or what they are."""

    OPENED = "opened"
    CLICKED = "clicked"
    ACCEPTED = "accepted"
    REPLY_KIND = "reply_kind"
    VARIANT = "variant"
    ATTRIBUTE = "attribute"


class Otherwise(StrEnum):
    """What becomes of a step whose condition is false when it is due. WAIT: it is skipped later."""

    SKIP = "skip"
    WAIT = "wait"


OF_STEPS: Final = frozenset({Fact.OPENED, Fact.CLICKED, Fact.ACCEPTED})
"""These are true or false of a step, or of any step before."""
FROM_WEBHOOKS: Final = frozenset({Fact.OPENED, Fact.CLICKED})
"""Nobody but a provider's webhook tells these."""
REPLY_KINDS: Final = (MailKind.HUMAN, MailKind.AUTO_REPLY, MailKind.ABSENCE, MailKind.HAS_LEFT, MailKind.UNSUBSCRIBE)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a step asks for. is_, not_: what the fact must be or not be; with neither it must be true, or be known."""

    fact: Fact
    step_number: int | None = None
    name: str | None = None
    is_: Value | None = None
    not_: Value | None = None
    otherwise: Otherwise = Otherwise.SKIP
    wait_hours: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns it as it is kept."""
        given = {"step_number": self.step_number, "name": self.name, "is": self.is_, "not": self.not_}
        kept = {name: value for name, value in given.items() if value is not None}
        wait = {"wait_hours": self.wait_hours} if self.otherwise is Otherwise.WAIT else {}
        return {"fact": str(self.fact), **kept, "else": str(self.otherwise), **wait}

    @property
    def told(self) -> str:
        """Returns it in words."""
        what = f"attribute {self.name}" if self.fact is Fact.ATTRIBUTE else str(self.fact)
        if self.fact in OF_STEPS:
            of = f"step {self.step_number}" if self.step_number is not None else "any step"
            return f"{'' if self.wants else 'not '}{what} of {of}"
        if self.is_ is not None:
            return f"{what} is {_text(self.is_)}"
        return f"{what} is known" if self.not_ is None else f"{what} is not {_text(self.not_)}"

    @property
    def wants(self) -> bool:
        """Returns whether a fact of steps must be true."""
        return self.is_ is not False if self.not_ is None else self.not_ is False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a person in a campaign. steps: fact -> the numbers of the steps of which it is true. begun: the
    numbers of those that were handed out or sent, so that no condition holds them back any more."""

    steps: Mapping[Fact, frozenset[int]] = field(default_factory=dict[Fact, frozenset[int]])
    replies: frozenset[str] = frozenset()
    variant: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    begun: frozenset[int] = frozenset()


def is_met(condition: Condition, facts: Facts) -> bool:
    """Returns whether the condition is true. Texts are compared in any case; a list is what one of its items is."""
    if condition.fact in OF_STEPS:
        done = facts.steps.get(condition.fact, frozenset[int]())
        happened = bool(done) if condition.step_number is None else condition.step_number in done
        return happened is condition.wants
    known = {_text(value) for value in _values(condition, facts)}
    if condition.is_ is not None:
        return _text(condition.is_) in known
    return bool(known) if condition.not_ is None else _text(condition.not_) not in known


def _values(condition: Condition, facts: Facts) -> Iterable[object]:
    if condition.fact is Fact.REPLY_KIND:
        return facts.replies
    value = facts.variant if condition.fact is Fact.VARIANT else facts.attributes.get(condition.name or "")
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return [item for item in items if item is not None and item != ""]


def _text(value: object) -> str:
    return str(value).strip().casefold()


class _Value:
    """A text of one line, true or false."""

    def problem(self, value: object, where: str) -> str | None:
        fits = isinstance(value, bool) or (isinstance(value, str) and Text(_LINE).problem(value, where) is None)
        return None if fits else f"{where} is not a text of at most 200 characters, and neither true nor false"

    def violations(self, path: str) -> list[str]:
        return [
            f'({path}.type() != "string" && {path}.type() != "boolean")',
            f'exists({path} ? (@.type() == "string" && !(@ like_regex "{_LINE}")))',
        ]


_LINE: Final = "^.{1,200}$"
_SHAPE: Final = Object(
    {
        "fact": Text(f"^({'|'.join(Fact)})$"),
        "step_number": Whole(1, field_limits.STEP_NUMBER_MAX),
        "name": Text(_LINE),
        "is": _Value(),
        "not": _Value(),
        "else": Text(f"^({'|'.join(Otherwise)})$"),
        "wait_hours": Whole(1, field_limits.DELAY_HOURS_MAX),
    },
    required=("fact", "else"),
)
_OF_STEPS: Final = f'@.fact like_regex "^({"|".join(sorted(OF_STEPS))})$"'
_TEXT: Final = '(@.is.type() == "string" || @.not.type() == "string")'
_FLAG: Final = '(@.is.type() == "boolean" || @.not.type() == "boolean")'
# The conditions under which fields do not belong together.
_TOGETHER: Final = (
    "(exists(@.is) && exists(@.not))",
    '((@.fact == "attribute") && !exists(@.name))',
    '((@.fact != "attribute") && exists(@.name))',
    f"(!({_OF_STEPS}) && exists(@.step_number))",
    f"(({_OF_STEPS}) && {_TEXT})",
    '((@.fact == "variant") && !exists(@.is) && !exists(@.not))',
    f'((@.fact == "variant" || @.fact == "reply_kind") && {_FLAG})',
    '((@.else == "wait") && !exists(@.wait_hours))',
    '((@.else == "skip") && exists(@.wait_hours))',
)


def checks(column: str) -> dict[str, str]:
    """Returns name -> rule for a column of conditions in a table of steps."""
    wrong = " || ".join((*_SHAPE.violations("@"), *_TOGETHER))
    return {
        column: f"{column} IS NULL OR NOT jsonb_path_exists({column}, '$ ? ({wrong})')",
        # A number of JSON, since a text would be cast before anybody has looked at what it is.
        f"{column}_before": f"({column} -> 'step_number') < CAST(CAST(step_number AS text) AS jsonb)",
    }


def problem(given: object, step_number: int) -> str | None:
    """Returns what is wrong with the condition of a step, and what to give; None if nothing is."""
    where = f"when of step {step_number}"
    found = _SHAPE.problem(given, where)
    if found is not None:
        return found
    said = cast("Mapping[str, Any]", given)
    fact, values = Fact(said["fact"]), [said[name] for name in ("is", "not") if name in said]
    return first(
        f"{where} {what}" for what in (*_of_fact(said, fact, values, step_number), *_of_wait(said)) if what is not None
    )


def _of_fact(said: Mapping[str, Any], fact: Fact, values: list[Value], step_number: int) -> Iterable[str | None]:
    if len(values) > 1:
        yield "has is and not: give one of the two"
    if (fact is Fact.ATTRIBUTE) != ("name" in said):
        yield "needs name, which attribute" if fact is Fact.ATTRIBUTE else f"has name, which {fact} does not take"
    if fact not in OF_STEPS and "step_number" in said:
        yield f"has step_number, which {fact} does not take"
    if said.get("step_number", 0) >= step_number:
        yield f"has step_number {said['step_number']}: it must come before step {step_number}"
    if fact is Fact.VARIANT and not values:
        yield "needs is or not, with the name of a variant"
    for value in values:
        if fact in OF_STEPS and not isinstance(value, bool):
            yield f"needs true or false for is and not: {fact} is one of them"
        if fact in (Fact.VARIANT, Fact.REPLY_KIND) and isinstance(value, bool):
            yield f"needs a text for is and not: {fact} is none of true and false"
        if fact is Fact.REPLY_KIND and value not in REPLY_KINDS:
            yield f"names no kind of reply: known are {', '.join(REPLY_KINDS)}"


def _of_wait(said: Mapping[str, Any]) -> Iterable[str | None]:
    waits = said["else"] == Otherwise.WAIT
    if waits and "wait_hours" not in said:
        yield "waits, and wait_hours does not say how long"
    if not waits and "wait_hours" in said:
        yield "has wait_hours, which only else: wait takes"


def of_json(kept: Mapping[str, Any]) -> Condition:
    """Returns the condition that is kept so, with which nothing is wrong."""
    return Condition(
        Fact(kept["fact"]),
        kept.get("step_number"),
        kept.get("name"),
        kept.get("is"),
        kept.get("not"),
        Otherwise(kept["else"]),
        kept.get("wait_hours", 0),
    )
