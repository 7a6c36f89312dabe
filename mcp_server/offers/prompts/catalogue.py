"""The prompts: what each is called, and asks for. toolsets.py says which are offered."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from db.domain.errors import InvalidInput
from db.domain.states import TemplateType
from mcp_server.offers.prompts.base import Argument, Prompt
from mcp_server.offers.prompts.texts import Values

_CLAIM_MAX = 500
_WEEK = timedelta(days=7)
_WEEKS_PROPOSED = 8
# What the tools take.
_YEARS = range(1970, 2201)


def _text(_: str, typed: str) -> str:
    return typed


def _campaign_id(name: str, typed: str) -> str:
    try:
        return str(UUID(typed))
    except ValueError:
        raise InvalidInput(
            f"{name} is not the id of a campaign. list_campaigns shows the ids of those there are."
        ) from None


def _channels(name: str, typed: str) -> str:
    if typed not in list(TemplateType):
        raise InvalidInput(f"{name} must be one of {', '.join(TemplateType)}.")
    return typed


def _limit(name: str, typed: str) -> int:
    if not (typed.isascii() and typed.isdigit() and len(typed) < 6 and 1 <= int(typed) <= _CLAIM_MAX):
        raise InvalidInput(f"{name} must be a whole number from 1 to {_CLAIM_MAX}.")
    return int(typed)


def _week(name: str, typed: str) -> date:
    """Returns the Monday of a week such as 2026-W45, or of the week of a day."""
    try:
        day = date.fromisoformat(typed)
    except ValueError:
        day = None
    if day is None or day.year not in _YEARS:
        raise InvalidInput(f"{name} must be a week such as 2026-W45, or a day of it such as 2026-11-02.")
    return day - timedelta(days=day.weekday())


def _moment(name: str, typed: str) -> datetime:
    """Returns a moment with its zone, or the start of a day in UTC."""
    try:
        moment = datetime.fromisoformat(typed)
    except ValueError:
        moment = None
    if moment is None or moment.year not in _YEARS:
        raise InvalidInput(f"{name} must be a day such as 2026-11-02, or a moment such as 2026-11-02T09:00:00+01:00.")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _last_weeks(now: datetime) -> list[str]:
    """Returns the weeks that are over, latest first."""
    return [f"{(now - _WEEK * back).date():%G-W%V}" for back in range(1, _WEEKS_PROPOSED + 1)]


def _days_of_week(values: Values, now: datetime) -> Values:
    """Returns the week (the last that is over, if none is given) and the one before, in days and in moments."""
    monday = values.get("week") or _week("week", _last_weeks(now)[0])
    assert isinstance(monday, date), "read by _week"
    before, sunday = monday - _WEEK, monday + timedelta(days=6)
    return {
        **values,
        "week": f"{monday:%G-W%V}",
        "since": f"{monday}",
        "until": f"{sunday}",
        "since_before": f"{before}",
        "until_before": f"{before + timedelta(days=6)}",
        "since_moment": datetime.combine(monday, time.min, UTC).isoformat(),
        "until_moment": datetime.combine(sunday, time(23, 59, 59), UTC).isoformat(),
    }


def _since_a_week_ago(values: Values, now: datetime) -> Values:
    since = values.get("since") or now - _WEEK
    assert isinstance(since, datetime), "read by _moment"
    return {**values, "since": since.isoformat(timespec="seconds")}


_A_CAMPAIGN = "Id of the campaign; list_campaigns shows it."

PROMPTS: tuple[Prompt, ...] = (
    Prompt(
        "plan_campaign",
        "Plan a campaign",
        "Plan an outreach campaign together, build it as a draft, and start it after a yes.",
        (
            Argument("goal", "What the campaign is to reach, and for what offer.", _text, required=True),
            Argument("audience", "Whom to write to.", _text),
            Argument(
                "channels",
                f"How to write: {', '.join(TemplateType)}.",
                _channels,
                choices=lambda _: [str(template_type) for template_type in TemplateType],
            ),
        ),
    ),
    Prompt(
        "work_due_actions",
        "Work off due steps",
        "Claim the steps that are due, send each once, report each before its lease ends, and say what is held back.",
        (
            Argument("campaign_id", f"{_A_CAMPAIGN} All active ones if left out.", _campaign_id, completes="campaign"),
            Argument("limit", f"How many steps to claim at a time, 1 to {_CLAIM_MAX}.", _limit),
        ),
    ),
    Prompt(
        "weekly_report",
        "Report on a week",
        "Report a campaign's week beside the one before: counts, rates, steps, variants, and what is held back.",
        (
            Argument("campaign_id", _A_CAMPAIGN, _campaign_id, required=True, completes="campaign"),
            Argument(
                "week",
                "A week such as 2026-W45, or a day of it; the last that is over if left out.",
                _week,
                choices=_last_weeks,
            ),
        ),
        derive=_days_of_week,
    ),
    Prompt(
        "triage_replies",
        "Sort the replies",
        "Read what people answered to a campaign, sort it, and stop writing to whoever asks for it.",
        (
            Argument("campaign_id", _A_CAMPAIGN, _campaign_id, required=True, completes="campaign"),
            Argument("since", "A day or a moment; the last seven days if left out.", _moment),
        ),
        derive=_since_a_week_ago,
    ),
)
