"""Conditions of steps, as they come in and go out."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field

from db.domain import conditions, field_limits
from db.domain.conditions import OF_STEPS, Condition, Fact, Otherwise
from mcp_server.schemas.base import Answer, Given, Line, Maybe, no_flag, told_in


def _word(value: object) -> object:
    """Returns true and false as the words that they are kept as, since a schema has one type."""
    return str(value).lower() if isinstance(value, bool) else value


Value = Annotated[Line | None, Field(max_length=200), BeforeValidator(_word)]


class WhenIn(Given):
    fact: Fact
    step_number: Annotated[
        int | None,
        Field(ge=1, le=field_limits.STEP_NUMBER_MAX, description="An earlier step; left out: any"),
        no_flag,
    ] = None
    name: Annotated[Line | None, Field(max_length=200, description="Of the attribute")] = None
    is_: Annotated[Value, Field(alias="is")] = None
    not_: Annotated[Value, Field(alias="not")] = None


When = Annotated[WhenIn | None, Field(description="Send only if so")]
Else = Annotated[Otherwise | None, Field(alias="else", description="If not: skip it, or wait for it and skip it then")]
WaitHours = Annotated[int | None, Field(ge=1, le=field_limits.DELAY_HOURS_MAX), no_flag]

_OF_EMAILS: Final = "in email_steps"
AlsoWhen = Annotated[WhenIn | None, told_in(_OF_EMAILS)]
AlsoElse = Annotated[Otherwise | None, Field(alias="else"), told_in(_OF_EMAILS)]


def condition(
    step_number: int, when: WhenIn | None, otherwise: Otherwise | None, hours: int | None
) -> Condition | None:
    """Returns the condition of a step. ValueError says what is wrong with it."""
    if when is None:
        if otherwise is not None or hours is not None:
            raise ValueError("else and wait_hours belong to when: give that too, or leave them out")
        return None
    given: dict[str, Any] = {
        "fact": str(when.fact),
        "step_number": when.step_number,
        "name": when.name,
        "is": _value(when.fact, when.is_),
        "not": _value(when.fact, when.not_),
        "else": str(otherwise or Otherwise.SKIP),
        "wait_hours": hours,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    problem = conditions.problem(kept, step_number)
    if problem is not None:
        raise ValueError(problem)
    return conditions.of_json(kept)


def _value(fact: Fact, given: str | None) -> str | bool | None:
    return given.lower() == "true" if fact in OF_STEPS and given and given.lower() in ("true", "false") else given


class WhenOut(Answer):
    model_config = ConfigDict(serialize_by_alias=True)

    fact: Fact
    step_number: Maybe[int] = None
    name: Maybe[str] = None
    is_: Annotated[Maybe[str | bool], Field(alias="is")] = None
    not_: Annotated[Maybe[str | bool], Field(alias="not")] = None
