"""With whom a person talks: one campaign at a time writes to them, and so often in a week. Pure.

A claim decides it in SQL under the lock of the person, see `db.services.state.conversation_rows`; a forecast by this.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

DAY: Final = timedelta(hours=24)
WEEK: Final = timedelta(hours=168)


@dataclass(frozen=True, slots=True)
class Rules:
    """How long after its last touch a campaign that has ended keeps others from a person, and how many touches they get
    in any seven days; 0: any number."""

    pause: timedelta = timedelta(0)
    touches: int = 0


class Busy(NamedTuple):
    """A person gets nothing of a campaign until then; None: as long as another one goes on."""

    until: datetime | None


@dataclass(slots=True)
class Conversation:
    """What is known of one person. holder: the enrollment that has the conversation, or had it last; is_live: it goes
    on. touched: enrollment -> when it sent its last step. recent: the last touches of all, in order."""

    holder: UUID | None = None
    is_live: bool = False
    touched: dict[UUID, datetime] = field(default_factory=dict[UUID, datetime])
    recent: list[datetime] = field(default_factory=list[datetime])

    def busy(self, enrollment_id: UUID, rules: Rules, now: datetime) -> Busy | None:
        """Returns what keeps the person from getting the next step of that enrollment; None if nothing does."""
        is_own = self.holder == enrollment_id
        if self.is_live and not is_own:
            return Busy(None)
        ends: list[datetime] = []
        if rules.pause and not is_own:
            ends += [at + rules.pause for other, at in self.touched.items() if other != enrollment_id]
        if rules.touches and len(self.recent) >= rules.touches:
            ends.append(self.recent[-rules.touches] + WEEK)
        end = max(ends, default=now)
        return Busy(end) if end > now else None

    def touch(self, enrollment_id: UUID, rules: Rules, now: datetime) -> None:
        """Notes that a step of that enrollment is sent, which has the conversation from now on."""
        self.holder, self.is_live = enrollment_id, True
        self.touched[enrollment_id] = now
        if rules.touches:
            self.recent = [*self.recent[1 - rules.touches :], now] if rules.touches > 1 else [now]

    def end(self, enrollment_id: UUID) -> None:
        """Notes that an enrollment has ended."""
        if self.holder == enrollment_id:
            self.is_live = False
