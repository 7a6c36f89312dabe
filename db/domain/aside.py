"""What a claim sets aside: due steps that it does not hand out, counted by what becomes of them and why."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from db.domain.holds import Hold, HoldReason


class Fate(StrEnum):
    """What becomes of an enrollment. A paused one takes a person, a moved one is due later. A campaign may be paused as
    a whole."""

    PAUSED = "paused"
    ENDED = "ended"
    MOVED = "moved"
    CAMPAIGN_PAUSED = "campaign_paused"


@dataclass(frozen=True, slots=True)
class SetAside:
    """People (or campaigns) of one fate for one reason; `detail` is that of the first."""

    fate: Fate
    reason: HoldReason
    count: int
    detail: str


@dataclass(slots=True)
class Aside:
    """Counts them during one claim."""

    _details: dict[tuple[Fate, HoldReason], list[str]] = field(default_factory=dict[tuple[Fate, HoldReason], list[str]])

    def add(self, held: Iterable[tuple[Fate, Hold]]) -> None:
        for fate, hold in held:
            self._details.setdefault((fate, hold.reason), []).append(hold.detail)

    def told(self) -> list[SetAside]:
        """Returns what was set aside, the most frequent first."""
        told = [SetAside(*kind, len(details), details[0]) for kind, details in self._details.items()]
        return sorted(told, key=lambda one: -one.count)
