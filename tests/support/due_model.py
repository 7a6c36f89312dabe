"""What is due when, as the documentation has it: a naive model that knows of no index, no stream and no row."""

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
LEASE = timedelta(minutes=5)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Owner: TypeAlias = tuple[str, str]
"""What has limits: the campaign, or the account of a channel."""
CAMPAIGN: Owner = ("campaign", "")


class Place(NamedTuple):
    """What a step took of the limits."""

    at: datetime
    account: str | None


@dataclass(frozen=True)
class Condition:
    """The step goes out to who has opened that email, or waits so long for it (None: not at all)."""

    opened: int
    wait: timedelta | None


@dataclass
class Handed:
    """A step that was handed out, and of which nobody has told what became of it."""

    step: int
    until: datetime
    place: Place


@dataclass
class Person:
    """done: up to which step all are behind; since: from when the delay of the next counts; late: how much later the
    step under lease comes than the lease ends. is_paused: until somebody resumes it. waits: for the
    condition of the step."""

    zone: str | None
    since: datetime
    done: int = 0
    handed: Handed | None = None
    late: timedelta = timedelta()
    is_paused: bool = False
    paused_until: datetime | None = None
    sent: set[int] = field(default_factory=set[int])
    opened: set[int] = field(default_factory=set[int])
    waits: bool = False
    absent_until: datetime | None = None

    @property
    def ends(self) -> list[datetime]:
        """When what holds the person by time is over."""
        return [until for until in (self.paused_until, self.absent_until) if until is not None]

    def is_paused_at(self, now: datetime) -> bool:
        return self.is_paused or (self.paused_until is not None and self.paused_until > now)


@dataclass
class Model:
    """The rules as they are documented. channels, delays: of each step; steps: those in use; started: when the
    campaign was."""

    settings: dict[str, Any]
    people: dict[UUID, Person]
    channels: dict[int, str]
    delays: dict[int, int]
    steps: set[int]
    started: datetime
    conditions: dict[int, Condition] = field(default_factory=dict[int, Condition])
    used: dict[Owner, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    last_at: dict[Owner, datetime] = field(default_factory=dict[Owner, datetime])

    def next_step(self, person: Person) -> int | None:
        return min((number for number in self.steps if number > person.done), default=None)

    def due(self, person: Person) -> datetime | None:
        """When the next step is due, whatever the window and the limits; None if that takes a person."""
        return None if person.is_paused else self.natural(person)

    def natural(self, person: Person) -> datetime | None:
        """The same, but for a pause that takes a person."""
        step, handed = self.next_step(person), person.handed
        if step is None:
            return None
        after = person.since + timedelta(hours=self.delays[step])
        if person.waits:
            after += self.conditions[step].wait or timedelta()
        if handed is None:
            return max(after, *person.ends, after)
        return max(
            handed.until + person.late if step == handed.step else max(after, handed.until), *person.ends, handed.until
        )

    def is_false(self, person: Person) -> bool:
        """Whether the next step would be held back by its condition. One that was handed out is not."""
        step, handed = self.next_step(person), person.handed
        if step not in self.conditions or (handed is not None and handed.step == step):
            return False
        return self.conditions[step].opened not in person.opened

    def open_all(self, person: Person) -> None:
        """Somebody opens all emails that they have got: then they wait for no condition."""
        person.opened |= {number for number in person.sent if self.channels[number] == "email"}
        person.waits = person.waits and self.is_false(person)

    def _hold_back(self, person: Person, step: int, now: datetime) -> None:
        """The step, whose condition is false, waits; or is passed over."""
        wait = self.conditions[step].wait
        if wait is not None and now < person.since + timedelta(hours=self.delays[step]) + wait:
            person.waits = True
            return
        person.done, person.since, person.handed, person.waits = step, now, None, False

    def pause(self, person: Person, until: datetime | None, now: datetime) -> None:
        """Pause somebody until then, or for ever; or change until when."""
        if until is None and not person.is_paused_at(now):
            person.is_paused, person.paused_until = True, None
            return
        with self._keeping_the_rest(person, now):
            person.is_paused, person.paused_until = until is None, until

    def resume(self, person: Person, now: datetime) -> None:
        """Somebody who is paused goes on."""
        if person.is_paused:
            person.is_paused = False
            return
        with self._keeping_the_rest(person, now):
            person.paused_until = None

    def go_away(self, person: Person, until: datetime | None, now: datetime) -> None:
        """Somebody is away until then, or is not."""
        with self._keeping_the_rest(person, now):
            person.absent_until = until

    @contextmanager
    def _keeping_the_rest(self, person: Person, now: datetime) -> Generator[None]:
        """What was left of the delay when all that holds the person ended is left when it ends now."""
        due, was = self.natural(person), max(now, *person.ends, now)
        yield
        assert due is not None, "nobody is held who has no step left"
        becomes = max(now, *person.ends, now)
        then = max(due, becomes) if due < was else becomes + (due - was)
        person.since += then - due
        person.late += then - due

    def is_open(self, person: Person, now: datetime) -> bool:
        own = person.zone if self.settings.get("use_contact_timezone") else None
        wall = now.astimezone(ZoneInfo(own or self.settings["timezone"]))
        window = self.settings.get("sending_window")

        def counts(days_ago: int) -> bool:
            day = wall.date() - timedelta(days=days_ago)
            is_holiday = day.isoformat() in self.settings.get("holidays", ())
            return not is_holiday and (window is None or DAYS[day.weekday()] in window["days"])

        if window is None:
            return counts(0)
        clock = f"{wall:%H:%M}"
        if window["start"] < window["end"]:
            return counts(0) and window["start"] <= clock < window["end"]
        return (counts(0) and clock >= window["start"]) or (counts(1) and clock < window["end"])

    def ready(self, now: datetime) -> list[UUID]:
        """Whose step may go out then if there is a place for it, the one due longest first."""
        line = [(due, id_) for id_, person in self.people.items() if (due := self.due(person)) is not None]
        return [id_ for due, id_ in sorted(line) if due <= now and self.is_open(self.people[id_], now)]

    def sender(self, step: int) -> dict[str, Any]:
        return self.settings.get("senders", {}).get(self.channels[step], {})

    def owners(self, step: int) -> list[Owner]:
        account = self.sender(step).get("account")
        return [CAMPAIGN] if account is None else [CAMPAIGN, (self.channels[step], account)]

    def today(self, owner: Owner, step: int, now: datetime) -> list[datetime]:
        """What was taken of the day of that owner which is now."""
        zone = ZoneInfo(self.settings["timezone"] if owner == CAMPAIGN else self.sender(step).get("timezone", "UTC"))
        day = now.astimezone(zone).date()
        return [at for at in self.used[owner] if at.astimezone(zone).date() == day]

    def most(self, owner: Owner, step: int, now: datetime) -> int | None:
        """How many may go out on the day of that owner which is now; None for any number."""
        if owner != CAMPAIGN:
            return self.sender(step).get("daily_limit")
        most, ramp_up, zone = self.settings.get("daily_limit"), self.settings.get("ramp_up"), self.settings["timezone"]
        if ramp_up is None:
            return most
        days = (now.astimezone(ZoneInfo(zone)).date() - self.started.astimezone(ZoneInfo(zone)).date()).days
        grown = ramp_up["start"] + days * ramp_up["increase"]
        return grown if most is None else min(most, grown)

    def keeps(self, owner: Owner, person: Person, step: int, now: datetime) -> bool:
        """Whether the step was handed out before, on a place of that day and of the same account."""
        handed = person.handed
        if handed is None or handed.step != step or handed.place.account != self.sender(step).get("account"):
            return False
        return handed.place.at in self.today(owner, step, now)

    def has_place(self, person: Person, step: int, now: datetime) -> bool:
        for owner in self.owners(step):
            limits = self.settings if owner == CAMPAIGN else self.sender(step)
            most, gap = self.most(owner, step, now), limits.get("min_gap_seconds", 0)
            last_at = self.last_at.get(owner)
            if last_at is not None and gap and now < last_at + timedelta(seconds=gap):
                return False
            is_full = most is not None and len(self.today(owner, step, now)) >= most
            if is_full and not self.keeps(owner, person, step, now):
                return False
        return True

    def first(self, now: datetime) -> bool:
        """Whether anything may go out then."""
        return any(
            (step := self.next_step(self.people[id_])) is not None and self.has_place(self.people[id_], step, now)
            for id_ in self.ready(now)
        )

    def hand_out(self, now: datetime) -> dict[UUID, int]:
        """What a claim of all that is due gives: whose step of which number."""
        given: dict[UUID, int] = {}
        for id_ in self.ready(now):
            person = self.people[id_]
            step = self.next_step(person)
            if step is not None and self.has_place(person, step, now):
                if self.is_false(person):
                    self._hold_back(person, step, now)
                    continue
                self._take(person, step, now)
                given[id_] = step
        return given

    def _take(self, person: Person, step: int, now: datetime) -> None:
        owners = self.owners(step)
        kept = [owner for owner in owners if self.keeps(owner, person, step, now)]
        place = Place(now, self.sender(step).get("account"))
        if person.handed is not None and len(kept) == len(owners):
            place = person.handed.place
        else:
            for owner in owners:
                if person.handed is not None and owner in kept:
                    self.used[owner].remove(person.handed.place.at)
                self.used[owner].append(now)
        for owner in owners:
            self.last_at[owner] = now
        person.handed, person.done = Handed(step, now + LEASE, place), max(person.done, step - 1)
        person.late, person.waits = timedelta(), False

    def report(self, id_: UUID, now: datetime, *, is_sent: bool) -> None:
        """The step was sent, or passed over: then its place is free again."""
        person = self.people[id_]
        handed = person.handed
        assert handed is not None, "it was handed out"
        if not is_sent:
            account = handed.place.account
            self.used[CAMPAIGN].remove(handed.place.at)
            if account is not None:
                self.used[self.channels[handed.step], account].remove(handed.place.at)
        else:
            person.sent.add(handed.step)
        person.done, person.since, person.handed = handed.step, now, None

    def moments(self, now: datetime, horizon: timedelta) -> Iterator[datetime]:
        """All at which something may begin: quarters of an hour, ends of delays, of leases and of gaps."""
        gaps = [self.settings.get("min_gap_seconds", 0)]
        gaps += [sender.get("min_gap_seconds", 0) for sender in self.settings.get("senders", {}).values()]
        found = {now, *(due for person in self.people.values() if (due := self.due(person)) is not None)}
        found |= {last_at + timedelta(seconds=gap) for last_at in self.last_at.values() for gap in gaps}
        exact = sorted(moment for moment in found if now <= moment <= now + horizon)
        start = now - timedelta(seconds=now.timestamp() % QUARTER.total_seconds())
        for number in range(horizon // QUARTER):
            quarter = start + (number + 1) * QUARTER
            while exact and exact[0] < quarter:
                yield exact.pop(0)
            yield quarter

    def next_moment(self, now: datetime, horizon: timedelta) -> datetime | None:
        """The first from then on at which anything may go out."""
        return next((moment for moment in self.moments(now, horizon) if self.first(moment)), None)

    def opening(self, person: Person, now: datetime, horizon: timedelta) -> datetime | None:
        """The first from then on at which the person's step may go out, if there is a place for it."""
        due = self.due(person)
        return next(
            (at for at in self.moments(now, horizon) if due is not None and at >= due and self.is_open(person, at)),
            None,
        )
