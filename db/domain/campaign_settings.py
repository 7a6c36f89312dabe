"""The shape of a campaign's settings: what the schema takes, what the database keeps, and what can be read.

Written once: `problem` says what is wrong with settings, and `violations` says the same in conditions of SQL/JSON
paths, of which the CHECKs of the table are made. mcp_server.schemas.campaigns.CampaignSettings is held to it by tests.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol, cast

from db.domain import field_limits
from db.domain.drafts import Approval
from db.domain.metrics import RATES
from db.domain.sending import WEEKDAYS, SentBy
from db.domain.states import Channel

INVALID_SETTINGS = "invalid_settings"
"""How `problem` begins."""


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
class _Text:
    pattern: str
    is_real: Callable[[str], bool] = bool

    def problem(self, value: object, where: str) -> str | None:
        fits = isinstance(value, str) and re.search(self.pattern, value) and self.is_real(value)
        return None if fits else f"{where} is no such text"

    def violations(self, path: str) -> list[str]:
        return [f'{path}.type() != "string"', f'exists({path} ? (!(@ like_regex "{self.pattern}")))']


@dataclass(frozen=True)
class _Flag:
    def problem(self, value: object, where: str) -> str | None:
        return None if isinstance(value, bool) else f"{where} is neither true nor false"

    def violations(self, path: str) -> list[str]:
        return [f'{path}.type() != "boolean"']


@dataclass(frozen=True)
class _Whole:
    low: int
    high: int

    def problem(self, value: object, where: str) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
        return None if fits else f"{where} is no whole number from {self.low} to {self.high}"

    def violations(self, path: str) -> list[str]:
        return [
            f'{path}.type() != "number"', f"{path} < {self.low}", f"{path} > {self.high}", f"{path} != {path}.floor()",
        ]  # fmt: skip


@dataclass(frozen=True)
class _List:
    item: Shape
    most: int

    def problem(self, value: object, where: str) -> str | None:
        if not isinstance(value, list) or len(cast("list[object]", value)) > self.most:
            return f"{where} is no list of at most {self.most}"
        return _first(self.item.problem(item, f"an item of {where}") for item in cast("list[object]", value))

    def violations(self, path: str) -> list[str]:
        wrong = " || ".join(self.item.violations("@"))
        return [f'{path}.type() != "array"', f"{path}.size() > {self.most}", f"exists({path}[*] ? ({wrong}))"]


@dataclass(frozen=True)
class _Object:
    fields: Mapping[str, Shape]
    required: Sequence[str] = ()

    def problem(self, value: object, where: str) -> str | None:
        if not isinstance(value, dict):
            return f"{where} is no object"
        given = cast("dict[str, object]", value)
        if given.keys() - self.fields.keys():
            return f"{where} has an unknown field"
        if missing := [name for name in self.required if name not in given]:
            return f"{where} lacks {missing[0]}"
        return _first(self.fields[name].problem(part, f"{where}.{name}") for name, part in given.items())

    def violations(self, path: str) -> list[str]:
        known = " || ".join(f'@.key == "{name}"' for name in self.fields)
        return [
            f'{path}.type() != "object"',
            f"exists({path}.keyvalue() ? (!({known})))",
            *(f"(exists({path}) && !exists({path}.{name}))" for name in self.required),
            *(wrong for name, shape in self.fields.items() for wrong in shape.violations(f"{path}.{name}")),
        ]


@dataclass(frozen=True)
class _Variables:
    most: int

    def problem(self, value: object, where: str) -> str | None:
        if not isinstance(value, dict):
            return f"{where} is no object"
        given = cast("dict[str, object]", value)
        if len(given) > self.most or not all(re.search(field_limits.VARIABLE_PATTERN, name) for name in given):
            return f"{where} has too many names, or one that is none"
        fit = all(isinstance(part, str | int | float) for part in given.values())
        return None if fit else f"{where} has a value that is no text, number or flag"

    def violations(self, path: str) -> list[str]:
        kinds = ("object", "array", "null")
        wrong = " || ".join(f'@.value.type() == "{kind}"' for kind in kinds)
        name = f'!(@.key like_regex "{field_limits.VARIABLE_PATTERN}")'
        return [f'{path}.type() != "object"', f"exists({path}.keyvalue() ? ({wrong} || {name}))"]


def _first(problems: Any) -> str | None:  # noqa: ANN401  an iterator of str | None
    return next((problem for problem in problems if problem is not None), None)


def _is_day(value: str) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


_TIME = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
COUNT: Shape = _Whole(1, field_limits.DAILY_LIMIT_MAX)
"""How many sends a limit allows."""
_LIMITS: Mapping[str, Shape] = {
    "daily_limit": COUNT,
    "min_gap_seconds": _Whole(0, field_limits.MIN_GAP_SECONDS_MAX),
}
_SENDER = _Object({"account": _Text("."), "timezone": _Text("."), **_LIMITS}, required=("account",))
FIELDS: Mapping[str, Shape] = {
    "timezone": _Text("."),
    "use_contact_timezone": _Flag(),
    "sending_window": _Object(
        {
            "days": _List(_Text(f"^({'|'.join(WEEKDAYS)})$"), len(WEEKDAYS)),
            "start": _Text(_TIME),
            "end": _Text(f"{_TIME}|^24[:]00$"),
        },
        required=("days", "start", "end"),
    ),
    "holidays": _List(_Text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", _is_day), field_limits.HOLIDAYS_MAX),
    **_LIMITS,
    "ramp_up": _Object({"start": COUNT, "increase": COUNT}, required=("start", "increase")),
    "senders": _Object({str(channel): _SENDER for channel in Channel}),
    "mailboxes": _List(_Text("^[^@ ]+@[^@ ]+$"), field_limits.POOL_MAX),
    "sent_by": _Text(f"^({'|'.join(SentBy)})$"),
    "include_overdue": _Flag(),
    "approval": _Text(f"^({'|'.join(Approval)})$"),
    "variables": _Variables(field_limits.VARIABLES_MAX),
    "primary_rate": _Text(f"^({'|'.join(rate.slug for rate in RATES)})$"),
}


def problem(settings: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with a campaign's settings, without a word of their values, and what to do; or None."""
    found = _Object(FIELDS).problem(dict(settings), "settings")
    then = "update_campaign corrects the settings, and start_campaign then resumes the campaign."
    return found and f"{INVALID_SETTINGS}: {found}. {then}"


def checks(column: str, fields: Mapping[str, Shape] = FIELDS) -> dict[str, str]:
    """Returns name -> condition for a column of settings: one for each of its `fields`, and one for the names of
    all."""
    known = " || ".join(f'@.key == "{name}"' for name in fields)
    wrong = {"known": f"exists(@.keyvalue() ? (!({known})))"}
    wrong |= {name: " || ".join(shape.violations(f"@.{name}")) for name, shape in fields.items()}
    return {f"settings_{name}": f"NOT jsonb_path_exists({column}, '$ ? ({path})')" for name, path in wrong.items()}
