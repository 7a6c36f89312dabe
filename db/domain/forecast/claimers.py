"""Who claims: each mailbox that the server sends from, and agents. Each looks at its queues when something may go."""

from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from uuid import UUID

from db.domain.forecast.people import Queue


@dataclass(slots=True, eq=False)
class Claimer:
    """mailbox_id: None for agents. parked: queues that wait for a limit of the mailbox itself, all until then."""

    mailbox_id: UUID | None
    agenda: "Agenda"
    number: int
    parked: dict[Queue, None] = field(default_factory=dict[Queue, None])
    parked_until: datetime | None = None
    _planned: dict[Queue, datetime] = field(default_factory=dict[Queue, datetime])
    _line: list[tuple[datetime, int, Queue]] = field(default_factory=list[tuple[datetime, int, Queue]])
    _numbers: "count[int]" = field(default_factory=count)

    def plan(self, queue: Queue, at: datetime) -> None:
        """Looks at the queue at that moment, if not before."""
        known = self._planned.get(queue)
        if queue in self.parked or (known is not None and known <= at):
            return
        self._planned[queue] = at
        heappush(self._line, (at, next(self._numbers), queue))
        self.agenda.note(at, self)

    def park(self, queue: Queue, until: datetime) -> None:
        self._planned.pop(queue, None)
        self.parked[queue] = None
        self.parked_until = until
        self.agenda.note(until, self)

    def next_at(self) -> datetime | None:
        """Returns when it looks next."""
        while self._line and self._planned.get(self._line[0][2]) != self._line[0][0]:
            heappop(self._line)
        moments = [self._line[0][0]] if self._line else []
        return min([*moments, *([self.parked_until] if self.parked_until is not None else [])], default=None)

    def look(self, now: datetime) -> list[Queue]:
        """Returns the queues to look at now, which are planned no more."""
        found: list[Queue] = []
        while (at := self.next_at()) is not None and at <= now:
            if self.parked_until is not None and self.parked_until <= now:
                found += self.parked
                self.parked.clear()
                self.parked_until = None
            else:
                _, _, queue = heappop(self._line)
                del self._planned[queue]
                found.append(queue)
        return list(dict.fromkeys(found))


class Agenda:
    """When which claimer looks next: of several at one moment, the one that was made first."""

    def __init__(self) -> None:
        self._line: list[tuple[datetime, int, int, Claimer]] = []
        self._made, self._notes = 0, count()

    def claimer(self, mailbox_id: UUID | None) -> Claimer:
        """Makes a claimer."""
        self._made += 1
        return Claimer(mailbox_id, self, self._made)

    def note(self, at: datetime, claimer: Claimer) -> None:
        heappush(self._line, (at, claimer.number, next(self._notes), claimer))

    def next(self) -> tuple[datetime, Claimer] | None:
        """Returns when the next claimer looks; None if none does."""
        while self._line and self._line[0][3].next_at() != self._line[0][0]:
            heappop(self._line)
        return (self._line[0][0], self._line[0][3]) if self._line else None
