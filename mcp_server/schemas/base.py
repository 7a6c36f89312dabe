"""The base of all shapes: strict input, lean output, and texts and JSON that a database can store."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from math import isfinite
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.types import JsonValue
from pydantic_core import PydanticCustomError, to_json

from db.domain import field_limits, texts
from db.domain.errors import InvalidInput
from db.domain.events import message_id, provider_name
from db.domain.secret_names import secrets_in
from mcp_server.schemas.faults import DAY, MOMENT, WHOLE, explain


def storable(text: str) -> str:
    """Returns the text. ValueError if the database can't store it."""
    if not texts.is_storable(text):
        raise PydanticCustomError("unstorable", "holds a NUL or half of a surrogate pair: take the character out")
    return text


def _json_object(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        size = len(to_json(value, inf_nan_mode="constants"))
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("json", "holds text that is not Unicode, or is nested too deep") from error
    if size > field_limits.JSON_MAX_BYTES:
        raise PydanticCustomError("json_size", "takes {size} bytes as JSON; at most {most} are kept", _sizes(size))
    _check_json(value, 0)
    return value


def _sizes(size: int) -> dict[str, int]:
    return {"size": size, "most": field_limits.JSON_MAX_BYTES}


def _check_json(value: JsonValue, depth: int) -> None:
    if depth > 50:
        raise PydanticCustomError("json_depth", "is nested deeper than 50 levels")
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, float) and not isfinite(value):
        raise PydanticCustomError("json_number", "holds NaN or Infinity, which JSON has no word for")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise PydanticCustomError("json_number", "holds a whole number of more than 64 bits: send it as text")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_json(key, depth + 1)
            _check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, depth + 1)


_EARLIEST, _LATEST = 1970, 2200
When = TypeVar("When", date, datetime)

Prose = Annotated[str, AfterValidator(storable)]
"""Any text that can be stored."""


def said(text: str) -> str:
    """Returns the text. ValueError if it is blank; `min_length` refuses an empty one."""
    if text and texts.is_blank(text):
        raise PydanticCustomError("blank", "must not be blank")
    return text


def _line(text: str) -> str:
    if not texts.is_one_line(text):
        raise PydanticCustomError("line", "must be one line: take out the line breaks and other control characters")
    return text


Line = Annotated[Prose, AfterValidator(said), AfterValidator(_line)]
"""A text that is shown in one line, or becomes part of a header, and says something."""


def _as(spell: Callable[[str], str]) -> BeforeValidator:
    """Runs `spell` before the other checks, since it may remove what a line must not contain, such as the line break of
    a folded header."""
    return BeforeValidator(lambda value: spell(value) if isinstance(value, str) else value)


ProviderName = Annotated[Line, Field(min_length=1, max_length=field_limits.PROVIDER_MAX), _as(provider_name)]
"""A provider however it is written; in lower case from here on."""

MessageId = Annotated[Line, Field(min_length=1, max_length=field_limits.PROVIDER_ID_MAX), _as(message_id)]
"""A provider's id of a message; without blanks and angle brackets around it from here on."""


def _one_id(text: str) -> str:
    if any(letter.isspace() or letter in "<>" for letter in text):
        raise PydanticCustomError("message_id", "must be one Message-ID without blanks, such as ID@example.com")
    return text


InternetMessageId = Annotated[
    Line,
    Field(min_length=1, max_length=field_limits.INTERNET_MESSAGE_ID_MAX),
    AfterValidator(_one_id),
    _as(message_id),
]
"""The Message-ID of a mail; without the angle brackets around it from here on."""

JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_json_object)]
"""A JSON object of at most 64 KiB."""


def _no_secrets(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    name = next(secrets_in(value), None)
    if name is not None:
        raise PydanticCustomError(
            "secret",
            "holds a secret, as its key {name} says: take it out. Secrets belong in the environment or the settings of "
            "the program that uses them; what is kept here is shown to everybody who may read.",
            {"name": repr(name[:100])},
        )
    return value


OpenObject = Annotated[JsonObject, AfterValidator(_no_secrets)]
"""A JSON object of at most 64 KiB without a key that names a secret."""


def _in_years(day: When) -> When:
    if not _EARLIEST <= day.year <= _LATEST:
        raise PydanticCustomError("years", "must lie between the years 1970 and 2200")
    return day


def _written_out(value: object) -> object:
    # pydantic would read 20261102 as seconds since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and value[4:5] == "-"):
        return value
    raise PydanticCustomError("moment", MOMENT)


def _in_utc(moment: datetime) -> datetime:
    try:
        return _in_years(moment.astimezone(UTC))
    except OverflowError:
        return _in_years(moment)


def _day(value: object) -> date:
    # pydantic would accept a moment at midnight as a day, in any zone.
    if not isinstance(value, str) or not _WRITTEN_DAY.fullmatch(value):
        raise PydanticCustomError("day", DAY)
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("day", DAY) from None
    return _in_years(day)


_WRITTEN_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
Day = Annotated[date, BeforeValidator(_day)]
"""A day, such as 2026-11-02."""

Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
"""A moment with its zone, such as 2026-11-02T09:00:00+01:00; in UTC from here on."""


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("whole", WHOLE)
    return value


no_flag = BeforeValidator(_no_flag)
"""For whole numbers, which pydantic would read a flag as. It comes after their range."""

Name = Annotated[Line, Field(min_length=1, max_length=field_limits.NAME_MAX)]
Cursor = Annotated[Line | None, Field(max_length=300)]
"""next_cursor of the page before, as the server's instructions say once for all lists."""

Limit = Annotated[int, Field(ge=1, le=field_limits.PAGE_MAX), no_flag]
Detail = Literal["concise", "full"]
Search = Annotated[Line | None, Field(min_length=2, max_length=200)]


def given(**fields: object) -> dict[str, Any]:
    """Returns the fields that a call gives. None means "leave it as it is"."""
    return {name: value for name, value in fields.items() if value is not None}


class Given(BaseModel):
    """Base of what clients send: nothing unknown, and no value repeated in an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nothings(cls, given: object) -> object:
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        return without_nothings(cast("dict[str, Any]", given), fields) if isinstance(given, dict) else given


def without_nothings(given: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Returns the given fields without optional ones that are null or empty. Models write null for these; programs that
    fill in every argument, or read a table, write an empty text."""
    return {
        name: value
        for name, value in given.items()
        if not (value is None or value == "") or name not in fields or fields[name].is_required()
    }


def check_range(since: When | None, until: When | None) -> None:
    """Refuses a range that ends before it begins. Its answer would be empty, as if there were no data."""
    if since is not None and until is not None and since > until:
        raise InvalidInput(f"since ({since}) is after until ({until}). Swap them, or leave one out.")


def _is_none(value: object) -> bool:
    return value is None


def is_nothing(value: object) -> bool:
    """Returns whether an answer leaves a field out because it is false, 0 or empty."""
    return not value


Value = TypeVar("Value")
Maybe = Annotated[Value | None, Field(exclude_if=_is_none)]
"""A field of an answer that is left out while it has no value."""

untold: FieldInfo = Field(json_schema_extra={"untold": True})
"""A field of an answer that speaks for itself, and that the outline of the answer leaves out."""


def told_in(place: str) -> FieldInfo:
    """Marks an argument whose shape or choices clients are told once, at the argument or tool of that name."""
    return Field(json_schema_extra={"told_in": place})


NextCursor = Annotated[Maybe[str], untold]
"""The cursor of the next page, which the server's instructions explain once for all lists."""

Undo = Annotated[Maybe[str], Field(description="The call that takes this back, or several, one a line."), untold]


def spelled(tool: str, /, **arguments: object) -> str:
    """Returns a call as text that a model can repeat, with values as JSON."""
    given_ = ", ".join(f"{name}={to_json(value).decode()}" for name, value in arguments.items())
    return f"{tool}({given_})"


def to_the_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


Second = Annotated[datetime, AfterValidator(to_the_second)]
"""A moment as a list shows it."""


class Answer(BaseModel):
    """Base of what clients get."""

    model_config = ConfigDict(from_attributes=True)


Warnings = Annotated[
    list[str],
    Field(exclude_if=is_nothing, description="What is likely to stop texts from being sent; nothing if left out."),
    untold,
]


class Rejected:
    """A row that does not fit its shape, so that the other rows of the call can be taken."""

    __slots__ = ("given", "reason")

    def __init__(self, given: object, error: ValidationError) -> None:
        self.given = given
        self.reason = "; ".join(explain(error))


def _reject(value: Any, validate: Callable[[Any], Any]) -> Any:  # noqa: ANN401  any row, of any shape
    try:
        return validate(value)
    except ValidationError as error:
        return Rejected(value, error)


Shape = TypeVar("Shape")

Row = Annotated[Shape, WrapValidator(_reject)]
"""One row of many: a Shape, or a Rejected that says why it is none. Read them with `sort_out`."""


class RowOut(Answer):
    """What became of one row of a call: `index` counts from 0, `reason` is given where there is something to say."""

    index: int
    reason: Maybe[str] = None


ShownRow = TypeVar("ShownRow", bound=RowOut)


def shown_rows(rows: Iterable[ShownRow], detail: Detail) -> list[ShownRow]:
    """Returns the rows that an answer lists, by index: all with `full`, else those with a reason. The only row of a
    call is always listed."""
    ordered = sorted(rows, key=lambda row: row.index)
    return ordered if detail == "full" or len(ordered) == 1 else [row for row in ordered if row.reason is not None]


def sort_out(rows: Sequence[Shape]) -> tuple[dict[int, Shape], dict[int, str]]:
    """Returns (valid rows, reasons why the others are invalid), both by index in the call."""
    fitting: dict[int, Shape] = {}
    rejected: dict[int, str] = {}
    for index, row in enumerate(cast("Sequence[Shape | Rejected]", rows)):
        if isinstance(row, Rejected):
            rejected[index] = row.reason
        else:
            fitting[index] = row
    return fitting, rejected
