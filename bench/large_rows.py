"""The rows of `bench.large`: people, enrollments, events and messages, as the services would have left them.

The people stand in the order in which they were enrolled. The first 40 % have ended: of eight, five are through all
steps, one has replied, one has unsubscribed, and the mail of one came back. A fifth each wait for the third step, for
the second and for the first. So there are ten events and one message for each person.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Final, LiteralString, NamedTuple

from bench.postgres import NOW

DAYS: Final = 62
_START: Final = NOW - timedelta(days=DAYS)
_START_MILLISECONDS: Final = int(_START.timestamp() * 1_000)
_CHUNK: Final = 20_000
_END: Final = DAYS * 86_400
_FIRMS: Final = 30_011
_GAP: Final = 48 * 3_600
"""Seconds between two steps."""

COLUMNS: Final[Mapping[LiteralString, LiteralString]] = {
    "contacts": "id email linkedin_url first_name last_name company title timezone attributes created_at",
    "campaign_enrollments": "instance_id id contact_id status current_step next_action_at delay_from a_b_variant "
    "stop_reason unsubscribed_at mailbox_id created_at",
    "campaign_actions": "instance_id id enrollment_id step_number channel a_b_variant status claimed_at provider "
    "provider_message_id reported sender sent_to reserved_at sent_at sent_source delivery_told_at delivered_at "
    "opened_at clicked_at replied_at bounced_at hard_bounced_at unsubscribed_at open_count click_count created_at",
    "campaign_events": "instance_id id enrollment_id event_type channel step_number occurred_at provider "
    "provider_event_id metadata provider_message_id created_at",
    "threads": "id instance_id enrollment_id contact_id mailbox_id subject state last_message_at last_kind messages",
    "messages": "id direction channel mailbox_id instance_id enrollment_id action_id internet_message_id subject "
    "occurred_at approval thread_id status kind sender sent_at hash sending_at filed_at created_at",
    "message_bodies": "message_id body",
    "suppressions": "id email reason source created_at",
    "conversations": "contact_id instance_id enrollment_id",
    "action_drafts": "id instance_id enrollment_id step_number channel source status subject body fingerprint",
    "audit_log": "id at actor tool ids outcome",
    "orphaned_events": "id reason event_type channel occurred_at provider_message_id provider provider_event_id "
    "created_at",
}

_FIRST = "Anna Ben Carla David Elif Frank Grete Hugo Ines Jonas Katja Liam Maria Nils Olga Paul Quinn Rosa Sven Tara"
_FIRST_NAMES: Final = [*_FIRST.split(), *(f"{name}{end}" for end in ("lyn", "ko", "rich") for name in _FIRST.split())]
_LAST = "berg feld mann stein wald thal hoff bach ner ler son sen ski dottir ez etti eau ington"
_ENDINGS: Final = _LAST.split()
_STARTS: Final = [a + b + c for a in "ABDEFGHKLMNPRSTVW" for b in "aeiou" for c in ("r", "l", "n", "ss", "ck")]
_TITLES: Final = ("Head of Sales", "Founder", "Buyer", "Head of Marketing", "Plant Manager", "CTO", "Broker", "Clerk")
_TOOLS: Final = ("enroll_contacts", "complete_action", "record_events", "update_campaign", "suppress")
BODY: Final = "Good morning, I saw what you build, and have a question on it. Would you have ten minutes this week?"


class Sender(NamedTuple):
    """A campaign, and the mailbox that it sends from; None where agents send."""

    campaign_id: str
    mailbox_id: str | None
    address: str | None
    has_drafts: bool = False


def moment(seconds: float) -> str:
    """Returns the moment so many seconds after the start of all."""
    minute, second = divmod(int(seconds), 60)
    return f"{_minute(minute)}:{second:02}+00"


@cache
def _minute(number: int) -> str:
    return (_START + timedelta(minutes=number)).strftime("%Y-%m-%d %H:%M")


def id_of(seconds: float, kind: int, number: int) -> str:
    """Returns a UUIDv7 of that moment, another for each kind and number."""
    millisecond = _START_MILLISECONDS + int(seconds * 1_000)
    return f"{millisecond >> 16:08x}-{millisecond & 0xFFFF:04x}-7{kind:03x}-8000-{number:012x}"


def email_of(number: int) -> str:
    first, last = name_of(number)
    return f"{first}.{last}.{number}@firm{number % _FIRMS}.example".lower()


def name_of(number: int) -> tuple[str, str]:
    mixed = number * 2_654_435_761 % 2**32
    last = _STARTS[mixed % len(_STARTS)] + _ENDINGS[mixed // 7 % len(_ENDINGS)]
    return _FIRST_NAMES[mixed // 1_009 % len(_FIRST_NAMES)], last


class _Fate(NamedTuple):
    """What became of a person: how many steps went out, how it ended, and how many opens there are."""

    steps: int
    end: str | None
    opens: int


_ENDED: Final = (
    *[_Fate(3, "finished", 7)] * 5,
    _Fate(1, "replied", 8),
    _Fate(1, "unsubscribed", 8),
    _Fate(1, "bounced", 0),
)
_ENDS: Final[Mapping[str | None, str]] = {
    None: "active",
    "finished": "completed",
    "replied": "completed",
    "unsubscribed": "unsubscribed",
    "bounced": "bounced",
}


def _fate(number: int, people: int) -> tuple[_Fate, float]:
    """Returns what became of this person, and when their first step went out, or is due, in seconds."""
    place = number / people
    if place < 0.4:
        return _ENDED[number // 20 % 8], place / 0.4 * (DAYS - 22) * 86_400
    if place < 0.6:
        return _Fate(2, None, 8), _END - 2 * _GAP + (place - 0.4) / 0.2 * _GAP * 0.9
    if place < 0.8:
        return _Fate(1, None, 10), _END - _GAP * 1.5 + (place - 0.6) / 0.2 * _GAP * 1.4
    return _Fate(0, None, 0), _END - 86_400 + (place - 0.8) / 0.2 * 20 * 86_400


class Rows:
    """Makes the rows of person after person. `tables` holds those of each table, as COPY reads them."""

    def __init__(self, people: int, senders: Sequence[Sender]) -> None:
        self.tables: dict[LiteralString, list[str]] = {table: [] for table in COLUMNS}
        self._people = people
        self._senders = senders
        self._events = 0

    def chunks(self) -> Iterator[Mapping[LiteralString, list[str]]]:
        """Yields the rows of some thousand people at a time."""
        for first in range(0, self._people, _CHUNK):
            for number in range(first, min(first + _CHUNK, self._people)):
                self._person(number)
            yield self.tables
            for rows in self.tables.values():
                rows.clear()

    def _add(self, table: LiteralString, *values: object) -> None:
        row = "\t".join(["\\N" if value is None else str(value) for value in values])
        self.tables[table].append(f"{row}\n")

    def _person(self, number: int) -> None:
        person = Person(number, self._people, self._senders)
        fate, at, enrolled = person.fate, person.at, person.enrolled
        first, last = name_of(number)
        self._add(
            "contacts", person.contact, person.email, f"https://www.linkedin.com/in/p-{number}" if number % 2 else None,
            first, last, f"Firm {number % _FIRMS} GmbH", _TITLES[number % 8], "Europe/Berlin" if number % 3 else None,
            '{"city": "Bonn"}', moment(enrolled),
        )  # fmt: skip
        self._enrollment(person)
        for step in range(1, fate.steps + 1):
            self._step(person, step)
        if fate.end is None and fate.steps:
            self._add("conversations", person.contact, person.sender.campaign_id, person.enrollment)
        if fate.end in ("unsubscribed", "bounced"):
            self._add("suppressions", id_of(at, 3, number), person.email, fate.end, "bench", moment(at + 7_200))
        self._besides(person)

    def _enrollment(self, person: "Person") -> None:
        steps, end, sender = person.fate.steps, person.fate.end, person.sender
        due = None if end else moment(person.at + steps * _GAP)
        self._add(
            "campaign_enrollments", sender.campaign_id, person.enrollment, person.contact, _ENDS[end], steps, due,
            due and moment(person.at + max(steps - 1, 0) * _GAP), person.variant, end,
            moment(person.at + 7_200) if end == "unsubscribed" else None,
            sender.mailbox_id if steps or sender.has_drafts else None, moment(person.enrolled),
        )  # fmt: skip

    def _besides(self, person: "Person") -> None:
        """What the people of some campaigns wait for, and what is kept of some of them."""
        number, when = person.number, moment(person.enrolled)
        if person.sender.has_drafts and person.fate.steps == 0:
            self._add(
                "action_drafts", id_of(person.enrolled, 4, number), person.sender.campaign_id, person.enrollment, 1,
                "email", "template", "waiting", "A question", BODY, f"\\\\x{number:064x}",
            )  # fmt: skip
        if number % 10 == 0:
            ids = f'{{"enrollment": ["{person.enrollment}"]}}'
            tool = _TOOLS[number // 10 % 5]
            self._add("audit_log", id_of(person.enrolled, 5, number), when, "agent", tool, ids, "ok")
        if number % 1_000 == 0:
            lost, came = f"lost-{number}", moment(_END - 3 * 86_400 + number / self._people * 86_400)
            self._add(
                "orphaned_events", id_of(person.enrolled, 6, number), "no enrollment has it", "opened", "email", when,
                lost, "bench", lost, came,
            )  # fmt: skip

    def _step(self, person: "Person", step: int) -> None:
        """A step that went out, with what happened to it."""
        at, sender, fate = person.at + (step - 1) * _GAP, person.sender, person.fate
        end = fate.end if step == fate.steps else None
        opens = fate.opens // fate.steps + (fate.opens % fate.steps if step == fate.steps else 0)
        clicks = 1 if step == fate.steps and end != "bounced" else 0
        action, message = id_of(at, 16 + step, person.number), f"m-{person.number}-{step}"
        sent, seen, told = moment(at), moment(at + 7_200), None if end == "bounced" else moment(at + 60)
        came_back = seen if end == "bounced" else None
        self._add(
            "campaign_actions", sender.campaign_id, action, person.enrollment, step, "email",
            person.variant if step == 1 else None, "sent", sent, "bench", message, "sent", sender.address, person.email,
            sent, sent, "reported", told, told, moment(at + 3_600) if opens else None, seen if clicks else None,
            seen if end == "replied" else None, came_back, came_back, seen if end == "unsubscribed" else None, opens,
            clicks, sent,
        )  # fmt: skip
        happened = [("sent", at), *([] if end == "bounced" else [("delivered", at + 60)])]
        happened += [("opened", at + 3_600 + turn * 60) for turn in range(opens)]
        happened += [("clicked", at + 7_200)] * clicks
        happened += [(end, at + 7_200)] if end is not None and end != "finished" else []
        self._happened(person, step, message, happened)
        if step <= person.mails:
            self._mail(person, step, at, action)
        if step == 1 and person.thread is not None:
            self._thread(person)

    def _happened(self, person: "Person", step: int, message: str, happened: Sequence[tuple[str, float]]) -> None:
        rows, campaign_id, enrollment = self.tables["campaign_events"], person.sender.campaign_id, person.enrollment
        for kind, at in happened:
            self._events += 1
            when, number = moment(at), self._events
            rows.append(
                f"{campaign_id}\t{id_of(at + 5, 7, number)}\t{enrollment}\t{kind}\temail\t{step}\t{when}\tbench\t"
                f'e-{number}\t{{"ip": "192.0.2.1"}}\t{message}\t{when}\n'
            )

    def _mail(self, person: "Person", step: int, at: float, action: str) -> None:
        id_, when, sender = id_of(at, 32 + step, person.number), moment(at), person.sender
        is_ours = person.thread is not None
        self._add(
            "messages", id_, "out", "email", sender.mailbox_id, sender.campaign_id, person.enrollment, action,
            f"<{action}@example.com>", "A question", when, "none", person.thread, "sent" if is_ours else None, None,
            None, None, f"\\\\x{person.number:060x}{step:04x}" if is_ours else None, when if is_ours else None,
            when if is_ours else None, when,
        )  # fmt: skip
        self._add("message_bodies", id_, BODY)

    def _thread(self, person: "Person") -> None:
        """The thread that the first mail began, with the answer of who has replied."""
        number, sender, answered = person.number, person.sender, person.fate.end == "replied"
        last, kind = moment(person.at + (7_200 if answered else (person.mails - 1) * _GAP)), "human"
        self._add(
            "threads", person.thread, sender.campaign_id, person.enrollment, person.contact, sender.mailbox_id,
            "A question", "needs_answer" if answered else "waiting", last, kind if answered else None,
            person.mails + answered,
        )  # fmt: skip
        if answered:
            id_ = id_of(person.at + 7_200, 40, number)
            self._add(
                "messages", id_, "in", "email", sender.mailbox_id, sender.campaign_id, person.enrollment, None,
                f"<answer-{number}@example.com>", "Re: A question", last, None, person.thread, "recorded", kind,
                person.email, last, f"\\\\x{number:064x}", None, None, last,
            )  # fmt: skip
            self._add("message_bodies", person.answer, "Tuesday at ten suits me.")


class Person:
    """One enrolled person. at: when the first step went out, or is due; mails: how many messages are kept; thread: the
    id of the first message too."""

    def __init__(self, number: int, people: int, senders: Sequence[Sender]) -> None:
        self.number, self.sender = number, senders[number % len(senders)]
        self.fate, self.at = _fate(number, people)
        self.enrolled = min(self.at, _END - 90_000) - 3_600
        self.contact, self.enrollment = id_of(self.enrolled, 1, number), id_of(self.enrolled + 1, 2, number)
        self.email = email_of(number)
        self.variant = "AB"[number // 20 % 2]
        self.mails = self.fate.steps if self.fate.steps < 3 else 1
        self.thread = id_of(self.at, 33, number) if self.sender.mailbox_id is not None and self.fate.steps else None

    @property
    def answer(self) -> str:
        """The id of the message with which the person replied."""
        return id_of(self.at + 7_200, 40, self.number)
