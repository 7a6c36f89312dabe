"""The settings of the workspace, as its operator set them or as they are from the start."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.workspace import WorkspaceSettings
from db.postgres.results import named

_GET = text("SELECT timezone, retention_days FROM settings").columns(*named("timezone", "retention_days"))
_SET = text("""
    INSERT INTO settings (id, timezone, retention_days) VALUES (1, :timezone, :retention_days)
    ON CONFLICT (id) DO UPDATE
    SET timezone = coalesce(excluded.timezone, settings.timezone),
        retention_days = coalesce(excluded.retention_days, settings.retention_days), updated_at = excluded.updated_at
""")


def get(session: Session) -> WorkspaceSettings:
    """Returns the settings. What nobody has set is as from the start."""
    row = session.execute(_GET).mappings().one_or_none()
    given: dict[str, Any] = dict(row or {})
    return WorkspaceSettings(**{name: value for name, value in given.items() if value is not None})


def update(session: Session, *, timezone: str | None = None, retention_days: int | None = None) -> WorkspaceSettings:
    """Changes what is given; None stays as it is. Returns the settings as they are then."""
    session.execute(_SET, {"timezone": timezone, "retention_days": retention_days})
    return get(session)
