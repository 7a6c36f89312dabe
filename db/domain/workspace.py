"""The settings of a workspace: what holds for all of its campaigns and people."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from db.domain.conversations import DAY, Rules
from db.domain.guardrails import Guardrails


class Colleagues(StrEnum):
    """What an answer does to the enrollments of others at the same company."""

    NOTHING = "nothing"
    HOLD = "hold"
    STOP = "stop"


DEFAULT_RETENTION_DAYS: Final = 1_095


@dataclass(frozen=True, slots=True)
class WorkspaceSettings:
    """`timezone` is given to campaigns whose settings name none. The words of messages are kept for
    `retention_days`. A person hears of another campaign `days_between_campaigns` after the last step of one, and gets
    at most `touches_per_week` in any seven days; 0: any number."""

    timezone: str = "UTC"
    retention_days: int = DEFAULT_RETENTION_DAYS
    days_between_campaigns: int = 0
    touches_per_week: int = 0
    colleagues: Colleagues = Colleagues.NOTHING
    guardrails: Guardrails = field(default_factory=Guardrails)

    @property
    def conversation_rules(self) -> Rules:
        return Rules(self.days_between_campaigns * DAY, self.touches_per_week)
