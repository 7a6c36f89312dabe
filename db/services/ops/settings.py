"""The settings of the workspace, as its operator set them or as they are from the start."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.guardrails import Guardrails
from db.domain.workspace import Colleagues, WorkspaceSettings
from db.postgres.results import named

_NAMES = (
    "timezone",
    "retention_days",
    "bounce_rate",
    "complaint_rate",
    "days_between_campaigns",
    "touches_per_week",
    "colleagues",
)
_GET = text("""
    SELECT timezone, retention_days, bounce_rate, complaint_rate, days_between_campaigns, touches_per_week, colleagues
    FROM settings
""").columns(*named(*_NAMES))
_SET = text("""
    INSERT INTO settings (id, timezone, retention_days, bounce_rate, complaint_rate, days_between_campaigns,
                          touches_per_week, colleagues)
    VALUES (1, :timezone, :retention_days, :bounce_rate, :complaint_rate, :days_between_campaigns, :touches_per_week,
            :colleagues)
    ON CONFLICT (id) DO UPDATE
    SET timezone = coalesce(excluded.timezone, settings.timezone),
        retention_days = coalesce(excluded.retention_days, settings.retention_days),
        bounce_rate = coalesce(excluded.bounce_rate, settings.bounce_rate),
        complaint_rate = coalesce(excluded.complaint_rate, settings.complaint_rate),
        days_between_campaigns = coalesce(excluded.days_between_campaigns, settings.days_between_campaigns),
        touches_per_week = coalesce(excluded.touches_per_week, settings.touches_per_week),
        colleagues = coalesce(excluded.colleagues, settings.colleagues),
        updated_at = excluded.updated_at
""")
_GUARDRAILS = ("bounce_rate", "complaint_rate")


def get(session: Session) -> WorkspaceSettings:
    """Returns the settings. What nobody has set is as from the start."""
    row: dict[str, Any] = dict(session.execute(_GET).mappings().one_or_none() or {})
    given = {name: value for name, value in row.items() if value is not None}
    guardrails = Guardrails(**{name: given.pop(name) for name in _GUARDRAILS if name in given})
    colleagues = Colleagues(given.pop("colleagues", Colleagues.NOTHING))
    return WorkspaceSettings(**given, colleagues=colleagues, guardrails=guardrails)


def update(
    session: Session,
    *,
    timezone: str | None = None,
    retention_days: int | None = None,
    bounce_rate: float | None = None,
    complaint_rate: float | None = None,
    days_between_campaigns: int | None = None,
    touches_per_week: int | None = None,
    colleagues: Colleagues | None = None,
) -> WorkspaceSettings:
    """Changes what is given; None stays as it is. Returns the settings as they are then."""
    session.execute(
        _SET,
        {
            "timezone": timezone,
            "retention_days": retention_days,
            "bounce_rate": bounce_rate,
            "complaint_rate": complaint_rate,
            "days_between_campaigns": days_between_campaigns,
            "touches_per_week": touches_per_week,
            "colleagues": colleagues,
        },
    )
    return get(session)
