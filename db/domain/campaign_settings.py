"""The shape of a campaign's settings: what the schema takes, what the database keeps, and what can be read.

Written once: `problem` says what is wrong with settings, and `violations` says the same in conditions of SQL/JSON
paths, of which the CHECKs of the table are made. mcp_server.schemas.campaigns.CampaignSettings is held to it by tests.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from db.domain import field_limits
from db.domain.drafts import Approval
from db.domain.metrics import RATES
from db.domain.sending import WEEKDAYS, SentBy
from db.domain.shapes import Flag, List, Object, Shape, Text, Whole
from db.domain.states import Channel

INVALID_SETTINGS = "invalid_settings"
"""How `problem` begins."""


@dataclass(frozen=True)
class _Variables:
    most: int

    def problem(self, value: object, where: str) -> str | None:
        if not isinstance(value, dict):
            return f"{where} is not an object"
        given = cast("dict[str, object]", value)
        if len(given) > self.most or not all(re.search(field_limits.VARIABLE_PATTERN, name) for name in given):
            return f"{where} has too many names, or one that is none"
        fit = all(isinstance(part, str | int | float) for part in given.values())
        return None if fit else f"{where} has a value that is not a text, number or flag"

    def violations(self, path: str) -> list[str]:
        kinds = ("object", "array", "null")
        wrong = " || ".join(f'@.value.type() == "{kind}"' for kind in kinds)
        name = f'!(@.key like_regex "{field_limits.VARIABLE_PATTERN}")'
        return [f'{path}.type() != "object"', f"exists({path}.keyvalue() ? ({wrong} || {name}))"]


def _is_day(value: str) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


_TIME = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
COUNT: Shape = Whole(1, field_limits.DAILY_LIMIT_MAX)
"""How many sends a limit allows."""
_LIMITS: Mapping[str, Shape] = {
    "daily_limit": COUNT,
    "min_gap_seconds": Whole(0, field_limits.MIN_GAP_SECONDS_MAX),
}
_SENDER = Object({"account": Text("."), "timezone": Text("."), **_LIMITS}, required=("account",))
FIELDS: Mapping[str, Shape] = {
    "timezone": Text("."),
    "use_contact_timezone": Flag(),
    "sending_window": Object(
        {
            "days": List(Text(f"^({'|'.join(WEEKDAYS)})$"), len(WEEKDAYS)),
            "start": Text(_TIME),
            "end": Text(f"{_TIME}|^24[:]00$"),
        },
        required=("days", "start", "end"),
    ),
    "holidays": List(Text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", _is_day), field_limits.HOLIDAYS_MAX),
    **_LIMITS,
    "ramp_up": Object({"start": COUNT, "increase": COUNT}, required=("start", "increase")),
    "senders": Object({str(channel): _SENDER for channel in Channel}),
    "mailboxes": List(Text("^[^@ ]+@[^@ ]+$"), field_limits.POOL_MAX),
    "sent_by": Text(f"^({'|'.join(SentBy)})$"),
    "include_overdue": Flag(),
    "approval": Text(f"^({'|'.join(Approval)})$"),
    "variables": _Variables(field_limits.VARIABLES_MAX),
    "primary_rate": Text(f"^({'|'.join(rate.slug for rate in RATES)})$"),
}


def problem(settings: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with a campaign's settings, without a word of their values, and what to do; or None."""
    found = Object(FIELDS).problem(dict(settings), "settings")
    then = "update_campaign corrects the settings, and start_campaign then resumes the campaign."
    return found and f"{INVALID_SETTINGS}: {found}. {then}"


def checks(column: str, fields: Mapping[str, Shape] = FIELDS) -> dict[str, str]:
    """Returns name -> condition for a column of settings: one for each of its `fields`, and one for the names of
    all."""
    known = " || ".join(f'@.key == "{name}"' for name in fields)
    wrong = {"known": f"exists(@.keyvalue() ? (!({known})))"}
    wrong |= {name: " || ".join(shape.violations(f"@.{name}")) for name, shape in fields.items()}
    return {f"settings_{name}": f"NOT jsonb_path_exists({column}, '$ ? ({path})')" for name, path in wrong.items()}
