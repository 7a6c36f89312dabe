"""People who wait for a step, and the queues in which they wait."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final
from uuid import UUID

from db.domain.allowance import Reservation
from db.domain.conditions import Facts, is_met
from db.domain.pools import Route
from db.domain.scheduling import Plan, Recipient, Stage, Step, choose, stage_after
from db.domain.streams import DueStream

NOTHING_KNOWN: Final = Facts()


@dataclass(slots=True)
class Waiting:
    """Somebody who waits for a step. claimed: the number of a step whose lease may run out, with what it reserved.
    stops: the numbers of steps that need a person before they go out."""

    campaign_id: UUID
    id: UUID
    contact_id: UUID
    a_b_variant: str | None
    current_step: int
    due: datetime
    delay_from: datetime | None
    zone: str | None = None
    mailbox_id: UUID | None = None
    absent_until: datetime | None = None
    busy_since: datetime | None = None
    """When the step was due, if it waits for another campaign of the person."""
    claimed: int | None = None
    reservation: Reservation | None = None
    facts: Facts = NOTHING_KNOWN
    stops: frozenset[int] = frozenset()
    is_dropped: bool = False
    """It stands in a queue no more, though it is still found in it."""

    def __lt__(self, other: "Waiting") -> bool:
        """Lets somebody who was dropped and has come back stand in a queue twice."""
        return self.is_dropped and not other.is_dropped

    def is_held_by_condition(self, step: Step) -> bool:
        """Returns whether the condition of the step is false. A step that was handed out is not asked about."""
        return (
            step.condition is not None and step.step_number != self.claimed and not is_met(step.condition, self.facts)
        )


@dataclass(slots=True)
class Steps:
    """The next steps of people."""

    plans: Mapping[UUID, Plan]
    _stages: dict[tuple[UUID, int], Stage] = field(default_factory=dict[tuple[UUID, int], Stage], init=False)

    def last(self, campaign_id: UUID) -> Step | None:
        """Returns a step of the highest number: those who have none left wait with those who wait for it."""
        return max(self.plans[campaign_id].steps, key=lambda step: step.step_number, default=None)

    def next(self, person: Waiting) -> Step | None:
        """Returns the next step of somebody; None if none is left."""
        key = person.campaign_id, person.current_step
        stage = self._stages.get(key)
        if stage is None:
            stage = self._stages[key] = stage_after(self.plans[person.campaign_id].steps, person.current_step)
        return choose(stage, Recipient(person.campaign_id, person.contact_id, person.a_b_variant))


@dataclass(slots=True, eq=False)
class Queue:
    """The people of one due stream, the one due longest first. is_limited: a limit or a mailbox may hold it back."""

    stream: DueStream
    is_limited: bool
    reserved: int = 0
    """How many have a reservation from before."""
    dropped: int = 0
    """How many are still found in it who stand in it no more."""
    ready: list[tuple[datetime, UUID, Waiting]] = field(default_factory=list[tuple[datetime, UUID, Waiting]])
    later: list[tuple[datetime, UUID, Waiting]] = field(default_factory=list[tuple[datetime, UUID, Waiting]])
    busy: set[UUID] = field(default_factory=set[UUID])
    """Who of it waits for another campaign of the person, in it or not."""
    looked_at: set[UUID] = field(default_factory=set[UUID])
    """Those of them who stand in it, and are looked at again when they come to its front."""

    @property
    def route(self) -> Route:
        return self.stream.route(self.stream.channels[0])

    def add(self, person: Waiting) -> None:
        self.reserved += person.reservation is not None
        heappush(self.later, (person.due, person.id, person))

    def advance(self, now: datetime) -> None:
        """Makes those ready who are due by then."""
        later, ready = self.later, self.ready
        while later and later[0][0] <= now:
            heappush(ready, heappop(later))
        self._trim()

    def _trim(self) -> None:
        """Takes out who was dropped and has come to the front."""
        while self.dropped and self.ready and self.ready[0][2].is_dropped:
            heappop(self.ready)
            self.dropped -= 1
        while self.dropped and self.later and self.later[0][2].is_dropped:
            heappop(self.later)
            self.dropped -= 1

    def drop(self, person: Waiting) -> Waiting:
        """Takes somebody out, wherever they stand. Returns them as they may be added again."""
        again = replace(person)
        person.is_dropped = True
        self.reserved -= person.reservation is not None
        self.dropped += 1
        self._trim()
        return again

    def first_due(self) -> datetime | None:
        """Returns when the first of all is due, in the past or the future."""
        firsts = [heap[0][0] for heap in (self.ready, self.later) if heap]
        return min(firsts, default=None)

    def ids(self) -> set[UUID]:
        """Returns all who wait in it."""
        return {id_ for heap in (self.ready, self.later) for _, id_, _ in heap}

    def take(self, person: Waiting) -> Waiting:
        """Takes somebody who is ready out of the queue."""
        self.reserved -= person.reservation is not None
        if self.ready[0][2] is person:
            heappop(self.ready)
            self._trim()
            return person
        self.ready.remove((person.due, person.id, person))
        heapify(self.ready)
        return person

    def with_reservation(self) -> list[Waiting]:
        """Returns those who are ready and whose step was claimed before, in their order."""
        if not self.reserved:
            return []
        found = sorted(self.ready, key=lambda entry: entry[:2])
        return [person for _, _, person in found if person.reservation is not None and not person.is_dropped]
