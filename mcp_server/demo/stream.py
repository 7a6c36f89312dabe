"""What becomes of each person, what providers report of it, and what must be counted.

The counts are made here by plain counting, apart from the code of the server, so that the demo checks the one by the
other.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from db.domain.mail.verdict import MailKind
from mcp_server.demo.people import Person

STEPS = {1: "email", 2: "linkedin", 3: "email"}
COUNTERS = ("sent", "delivered", "opened", "clicked", "replied", "bounced", "unsubscribed", "accepted")

Event = dict[str, Any]


class _Effect(NamedTuple):
    """What an answer does. status, stop_reason: of its enrollment; None where it goes on."""

    counter: str | None = None
    status: str | None = None
    stop_reason: str | None = None


_EFFECTS: Final = MappingProxyType(
    {
        MailKind.HUMAN: _Effect("replied", "completed", "replied"),
        MailKind.UNSUBSCRIBE: _Effect("unsubscribed", "unsubscribed", "unsubscribed"),
        MailKind.BOUNCE: _Effect("bounced", "bounced", "bounced"),
        MailKind.ABSENCE: _Effect(),
        MailKind.AUTO_REPLY: _Effect(),
    }
)
# What comes back to the first people, so that some of each kind does however few they are; then it is drawn.
_FIRST: Final = (
    MailKind.UNSUBSCRIBE,
    MailKind.HUMAN,
    MailKind.ABSENCE,
    MailKind.AUTO_REPLY,
    MailKind.UNSUBSCRIBE,
    MailKind.HUMAN,
)
_ODDS: Final = MappingProxyType(
    {
        MailKind.HUMAN: 0.06,
        MailKind.UNSUBSCRIBE: 0.03,
        MailKind.ABSENCE: 0.02,
        MailKind.AUTO_REPLY: 0.01,
        None: 0.88,
    }
)


@dataclass(slots=True)
class Expected:
    """Counts by (step, counter) and by (variant, counter), and how many enrollments end in which status."""

    by_step: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    by_variant: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    statuses: Counter[str] = field(default_factory=Counter[str])


class Stream:
    """Plays people through the steps with a seeded dice. `events`: what providers report, as it happened."""

    def __init__(self, seed: int) -> None:
        self.events: list[Event] = []
        self._counted: list[tuple[Person, int, str]] = []
        self._seed = seed
        self._number = 0
        self._dice = random.Random(seed)  # noqa: S311  a dice, not a secret

    def expected(self, people: Iterable[Person]) -> Expected:
        """Returns what must be counted once all are enrolled and their variants are known."""
        expected = Expected(statuses=Counter(person.status for person in people))
        for person, step, counter in self._counted:
            expected.by_step[str(step), counter] += 1
            # Only the first email has variants.
            expected.by_variant[person.variant if step == 1 else "", counter] += 1
        return expected

    def taken_events(self) -> list[Event]:
        """Returns the events since it was asked last."""
        taken, self.events = self.events, []
        return taken

    # People whom the server writes to: sends, bounces and answers are mails, and the events are the rest.

    def sent(self, person: Person, step: int) -> None:
        """A mail of the server was taken for this person."""
        self._counts(person, step, "sent")

    def first_mails(self, people: Iterable[Person], at: datetime, *, returned: Collection[Person]) -> None:
        """Draws what comes of the first email. returned: whose email comes back undelivered."""
        answers = self._answers()
        for person in people:
            person.answer = MailKind.BOUNCE if person in returned else next(answers)
            if person.answer is not MailKind.BOUNCE:
                self._is_read(person, 1, at)
            effect = _EFFECTS.get(person.answer) if person.answer else None
            if effect and effect.counter and effect.status:
                self._counts(person, 1, effect.counter)
                person.status, person.stop_reason = effect.status, effect.stop_reason

    def invitations(self, people: Iterable[Person], at: datetime) -> None:
        """An agent invites these people on LinkedIn, and reports it."""
        for person in people:
            self._invited(person, at)

    def follow_ups(self, people: Iterable[Person], at: datetime) -> None:
        """The last mail of the server was taken for these people, which completes their enrollments."""
        for person in people:
            self.sent(person, max(STEPS))
            self._is_read(person, max(STEPS), at)
            person.status, person.stop_reason = "completed", "finished"

    def answered_late(self, person: Person) -> None:
        """A person answers the last email, after the enrollment has ended by itself."""
        self._counts(person, max(STEPS), "replied")
        person.answer, person.stop_reason = MailKind.HUMAN, "replied"

    def _answers(self) -> Iterator[MailKind | None]:
        kinds = list(_ODDS)
        drawn = (self._dice.choices(kinds, list(_ODDS.values()))[0] for _ in repeat(None))
        return chain(_FIRST, drawn)

    # People whom another program wrote to: all that happened comes as events.

    def play(self, people: Iterable[Person], start: datetime) -> None:
        """Plays all steps of these people."""
        for person in people:
            person.status = self._play(person, start + timedelta(minutes=self._dice.randrange(600)))

    def _play(self, person: Person, at: datetime) -> str:
        for step, channel in STEPS.items():
            if channel == "email":
                ended = self._email(person, step, at)
                if ended:
                    return ended
            else:
                self._invited(person, at)
            at += timedelta(hours=48)
        return "completed"

    def _email(self, person: Person, step: int, at: datetime) -> str | None:
        """Sends one email and draws what comes of it. Returns the status in which the enrollment ends, if it does."""
        roll = self._dice.random
        self._happens(person, step, "sent", at)
        # The last step completes its enrollment, which a bounce ends only if it overtakes the news of the send.
        if step != max(STEPS) and roll() < 0.04:
            self._happens(person, step, "bounced", at, metadata={"bounce_type": "hard"})
            return "bounced"
        self._is_read(person, step, at)
        if roll() < 0.06:
            self._happens(person, step, "replied", at)
            return "completed"
        if roll() < 0.03:
            self._happens(person, step, "unsubscribed", at)
            return "unsubscribed"
        return None

    # Both.

    def _is_read(self, person: Person, step: int, at: datetime) -> None:
        """An email arrives; it may be opened, and its link clicked."""
        self._happens(person, step, "delivered", at)
        if self._dice.random() < 0.55:
            self._happens(person, step, "opened", at)
            if self._dice.random() < 0.3:
                self._happens(person, step, "clicked", at)

    def _invited(self, person: Person, at: datetime) -> None:
        self._happens(person, 2, "connection_sent", at, counter="sent")
        if self._dice.random() < 0.4:
            self._happens(person, 2, "connection_accepted", at, counter="accepted")

    def _counts(self, person: Person, step: int, counter: str) -> None:
        self._counted.append((person, step, counter))

    def _happens(
        self, person: Person, step: int, event_type: str, at: datetime, *, counter: str | None = None, **more: object
    ) -> None:
        self._number += 1
        self.events.append(
            {
                "event_type": event_type,
                "channel": STEPS[step],
                "step_number": step,
                "occurred_at": (at + timedelta(seconds=self._number % 60)).isoformat(),
                "provider": "demo",
                "provider_event_id": f"{self._seed}-{self._number}",
                **person.reference,
                **more,
            }
        )
        self._counts(person, step, counter or event_type)


def disturb(events: list[Event], seed: int) -> list[Event]:
    """Returns the same events as a network delivers them: one in ten twice, and neighbours in any order."""
    dice = random.Random(seed)  # noqa: S311  a dice, not a secret
    doubled = events + dice.sample(events, len(events) // 10)
    return sorted(doubled, key=lambda event: (event["step_number"], dice.random()))
