"""Who talks with whom in a forecast, and who waits for whom."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.domain.conversations import Busy, Conversation, Rules
from db.domain.forecast.people import Queue, Waiting


class Noted(NamedTuple):
    """Somebody whose step was due and waits for another campaign of their person, and the queue that they are of.
    is_parked: only the end of an enrollment lets them come back to it."""

    person: Waiting
    queue: Queue
    is_parked: bool


@dataclass(slots=True)
class Conversations:
    """of: person -> what is known, for all whom several campaigns write to. Nobody else waits for another campaign."""

    rules: Rules = field(default_factory=Rules)
    of: dict[UUID, Conversation] = field(default_factory=dict[UUID, Conversation])
    _noted: defaultdict[UUID, dict[UUID, Noted]] = field(
        default_factory=lambda: defaultdict[UUID, dict[UUID, Noted]](dict), init=False
    )

    def busy(self, person: Waiting, now: datetime) -> Busy | None:
        """Returns why the person gets nothing of this campaign now; None if they may."""
        known = self.of.get(person.contact_id)
        return None if known is None else known.busy(person.id, self.rules, now)

    def is_held(self, person: Waiting) -> bool:
        """Returns whether another campaign has the conversation with the person, and goes on."""
        known = self.of.get(person.contact_id)
        return known is not None and known.is_live and known.holder != person.id

    def touch(self, person: Waiting, now: datetime) -> None:
        """Notes that the person gets a step."""
        known = self.of.get(person.contact_id)
        if known is None and self.rules.touches:
            known = self.of[person.contact_id] = Conversation()
        if known is not None:
            known.touch(person.id, self.rules, now)

    def note(self, person: Waiting, queue: Queue, *, is_parked: bool) -> None:
        """Notes that somebody waits, until they are looked at again or an enrollment of their person ends."""
        queue.busy.add(person.id)
        (queue.looked_at.discard if is_parked else queue.looked_at.add)(person.id)
        self._noted[person.contact_id][person.id] = Noted(person, queue, is_parked)

    def forget(self, person: Waiting, queue: Queue) -> None:
        """Notes that somebody waits for no other campaign any more."""
        person.busy_since = None
        if person.id in queue.busy:
            queue.busy.discard(person.id)
            queue.looked_at.discard(person.id)
            self._noted[person.contact_id].pop(person.id, None)

    def end(self, contact_id: UUID, enrollment_id: UUID) -> list[Waiting]:
        """Notes that an enrollment has ended. Returns who of the person has waited, due as before."""
        known = self.of.get(contact_id)
        if known is not None:
            known.end(enrollment_id)
        return [_woken(noted) for noted in self._noted.pop(contact_id, {}).values()]

    def parked(self) -> Iterator[tuple[Waiting, UUID | None]]:
        """Yields who waits until another campaign ends, with the enrollment that has the conversation."""
        for contact_id, found in self._noted.items():
            for person, _, is_parked in found.values():
                if is_parked:
                    yield person, self.of[contact_id].holder


def _woken(noted: Noted) -> Waiting:
    noted.queue.busy.discard(noted.person.id)
    noted.queue.looked_at.discard(noted.person.id)
    person = noted.person if noted.is_parked else noted.queue.drop(noted.person)
    person.due, person.busy_since = person.busy_since or person.due, None
    return person
