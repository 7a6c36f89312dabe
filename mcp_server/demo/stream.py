"""What providers might report about a campaign, and what must be counted of it.

The counts are made here by plain counting, apart from the code of the server, so that the demo checks the one by the
other.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

STEPS = {1: "email", 2: "linkedin", 3: "email"}
COUNTERS = ("sent", "delivered", "opened", "clicked", "replied", "bounced", "unsubscribed", "accepted")

Event = dict[str, Any]


@dataclass(slots=True, eq=False)
class Person:
    """Somebody whose events are played. `reference` is how events name the person; `variant` may be learnt later."""

    reference: dict[str, str]
    variant: str = ""


@dataclass(slots=True)
class Expected:
    """Counts by (step, counter) and by (variant, counter), and how many enrollments end in which status."""

    by_step: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    by_variant: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    statuses: Counter[str] = field(default_factory=Counter[str])


class Stream:
    """Plays people through the steps with a seeded dice. `events` stand in the order in which they happened."""

    def __init__(self, start: datetime, seed: int) -> None:
        self.events: list[Event] = []
        self._counted: list[tuple[Person, int, str]] = []
        self._statuses: Counter[str] = Counter()
        self._start = start
        self._seed = seed
        self._dice = random.Random(seed)  # noqa: S311  a dice, not a secret

    def expected(self) -> Expected:
        """Returns what must be counted once everybody is enrolled and their variants are known."""
        expected = Expected(statuses=self._statuses)
        for person, step, counter in self._counted:
            expected.by_step[str(step), counter] += 1
            # Only the first email has variants.
            expected.by_variant[person.variant if step == 1 else "", counter] += 1
        return expected

    def play(self, people: Iterable[Person]) -> None:
        for person in people:
            self._statuses[self._play(person)] += 1

    def _play(self, person: Person) -> str:
        at = self._start + timedelta(minutes=self._dice.randrange(600))
        for step, channel in STEPS.items():
            ended = self._email(person, step, at) if channel == "email" else self._linkedin(person, step, at)
            if ended:
                return ended
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
        self._happens(person, step, "delivered", at)
        if roll() < 0.55:
            self._happens(person, step, "opened", at)
            if roll() < 0.3:
                self._happens(person, step, "clicked", at)
        if roll() < 0.06:
            self._happens(person, step, "replied", at)
            return "completed"
        if roll() < 0.03:
            self._happens(person, step, "unsubscribed", at)
            return "unsubscribed"
        return None

    def _linkedin(self, person: Person, step: int, at: datetime) -> str | None:
        self._happens(person, step, "connection_sent", at, counter="sent")
        if self._dice.random() < 0.4:
            self._happens(person, step, "connection_accepted", at, counter="accepted")
        return None

    def _happens(
        self, person: Person, step: int, event_type: str, at: datetime, *, counter: str | None = None, **more: object
    ) -> None:
        number = len(self.events) + 1
        self.events.append(
            {
                "event_type": event_type,
                "channel": STEPS[step],
                "step_number": step,
                "occurred_at": (at + timedelta(seconds=number % 60)).isoformat(),
                "provider": "demo",
                "provider_event_id": f"{self._seed}-{number}",
                **person.reference,
                **more,
            }
        )
        self._counted.append((person, step, counter or event_type))


def disturb(events: list[Event], seed: int) -> list[Event]:
    """Returns the same events as a network delivers them: one in ten twice, and neighbours in any order."""
    dice = random.Random(seed)  # noqa: S311  a dice, not a secret
    doubled = events + dice.sample(events, len(events) // 10)
    return sorted(doubled, key=lambda event: (event["step_number"], dice.random()))
