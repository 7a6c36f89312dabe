"""The story of the demo: a campaign from its first email to its funnel, with every number checked."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from db.domain.mail.verdict import MailKind
from mcp_server.demo import answers, checks
from mcp_server.demo.calls import Calls, DemoFailed, check, until
from mcp_server.demo.mail_host import HOST, MailHost, Taken
from mcp_server.demo.people import Person, Row, looks_like_an_address, people_of
from mcp_server.demo.report import Report
from mcp_server.demo.setting import MAILBOXES, DemoClock
from mcp_server.demo.stream import Event, Stream, disturb

_SEED: Final = 20_261_102
_BATCH: Final = 500
_SECOND_WAVE: Final = 60
_MANY_A_DAY: Final = 100_000
_FOLLOW_UPS_A_DAY: Final = 20
"""Of each mailbox, so that the demo ends within a minute."""
_TWO_DAYS: Final = 49
_THREE_DAYS: Final = 73
"""Hours."""
_LOOKS: Final = 10
"""At the mail host before the server is asked what it has sent."""
_RETURNED_ONE_IN: Final = 40
_AWAY: Final = timedelta(days=12)
_IMPORTED_BEFORE: Final = timedelta(days=20)
_BY_PROGRAMS: Final = (MailKind.ABSENCE, MailKind.AUTO_REPLY)

EMAIL_STEPS: Final = [
    {
        "step_number": 1,
        "a_b_variant": variant,
        "subject": subject,
        "body": "Hi {{ first_name }}, how does {{ company | default: 'your team' }} follow up on leads today?",
    }
    for variant, subject in (("A", "A question about {{ company }}"), ("B", "{{ first_name }}, two minutes?"))
] + [
    {
        "step_number": 3,
        "body": "Hi {{ first_name }}, shall I send you an example, or leave it at that?",
        "delay_hours": 72,
    }
]
LINKEDIN_STEPS: Final = [
    {
        "step_number": 2,
        "type": "connection_request",
        "message": "Hi {{ first_name }}, we wrote about follow-ups. Glad to connect.",
        "delay_hours": 48,
    }
]


def returned_of(mails: Iterable[Taken]) -> list[Taken]:
    """Returns the mails that come back undelivered: one in forty, of all and of each mailbox. Where one in twenty does,
    the server pauses the mailbox, or the campaign."""
    boxes = list(MAILBOXES)
    numbers = Counter[str]()
    returned: list[Taken] = []
    for mail in mails:
        number = numbers[mail.sender] * len(boxes) + boxes.index(mail.sender)
        numbers[mail.sender] += 1
        if number % _RETURNED_ONE_IN == 0:
            returned.append(mail)
    return returned


class Story:
    """One run of the demo."""

    def __init__(self, calls: Calls, host: MailHost, clock: DemoClock, console: Console) -> None:
        self._call = calls
        self._host = host
        self._clock = clock
        self._console = console
        self._stream = Stream(_SEED)
        self._recorded = Counter[str]()
        self._campaign_id = ""
        self._mailed: dict[str, Person] = {}
        """By address, whom the server writes to."""
        self._imported: dict[str, Person] = {}
        """By address, whom another program wrote to before."""
        self._first: dict[str, Taken] = {}
        """By address, the first email of each."""
        self._came_back = 0

    async def play(self, rows: Sequence[Row]) -> None:
        """Plays all of it with these rows. DemoFailed if anything is not as it should be."""
        await self._prepare()
        await self._write_to(rows[:-_SECOND_WAVE])
        self._clock.move(hours=_TWO_DAYS)
        await self._bring_answers()
        await self._report_what_happened(rows[-_SECOND_WAVE:])
        await self._await_answers()
        followed = await self._follow_up()
        last = next(mail for mail in followed if self._mailed[mail.recipient].answer is None)
        await self._answer_late(self._mailed[last.recipient], last)
        await self._await_copies()
        await self._tell(last.recipient)

    async def _prepare(self) -> None:
        for address, name in MAILBOXES.items():
            await self._call(
                "connect_mailbox",
                address=address,
                display_name=name,
                smtp={"host": HOST, "port": self._host.smtp_port, "security": "none"},
                imap={"host": HOST, "port": self._host.imap_port, "security": "none"},
                daily_limit=_MANY_A_DAY,
                min_gap_seconds=0,
            )
        template = await self._call(
            "create_template",
            name="Follow-ups",
            type="multi_channel",
            email_steps=EMAIL_STEPS,
            linkedin_steps=LINKEDIN_STEPS,
        )
        campaign = await self._call(
            "create_campaign",
            name="Demo",
            template_id=template["template"]["id"],
            settings={"mailboxes": list(MAILBOXES)},
        )
        self._campaign_id = campaign["campaign"]["id"]

    async def _enroll(self, rows: Sequence[Row], *, told: str = "") -> dict[str, str]:
        """Returns email -> enrollment of the enrolled; checks the answer against the rows. told: what else to say."""
        answer = await self._call("enroll_contacts", campaign_id=self._campaign_id, contacts=rows, detail="full")
        good = [row["email"].lower() for row in rows if looks_like_an_address(row["email"])]
        new = set(good) - self._mailed.keys()
        check("enrolled", answer["enrolled"], len(new))
        check("already_enrolled", answer["already_enrolled"], len(good) - len(new))
        check("invalid", answer["invalid"], len(rows) - len(good))
        self._console.print(
            f"Enrolled {answer['enrolled']} of {len(rows)} rows "
            f"({answer['already_enrolled']} twice in the file, {answer['invalid']} with a broken address){told}."
        )
        emails = [row["email"].lower() for row in rows]
        taken = [row for row in answer["results"] if row["status"] == "enrolled"]
        return {emails[row["index"]]: row["enrollment_id"] for row in taken}

    async def _write_to(self, rows: Sequence[Row]) -> None:
        """The server writes the first email to these people."""
        enrolled, people = await self._enroll(rows), people_of(rows)
        self._mailed = {
            email: Person(email, people[email].get("first_name", ""), {"enrollment_id": enrollment_id})
            for email, enrollment_id in enrolled.items()
        }
        await self._call("start_campaign", campaign_id=self._campaign_id)
        mails = await self._await_mails("First emails", len(self._mailed))
        checks.each_once(mails, self._mailed)
        self._first = {mail.recipient: mail for mail in mails}
        for email in self._first:
            self._stream.sent(self._mailed[email], 1)
        self._console.print(f"Sent {len(mails)} emails, one to each person, from {len(MAILBOXES)} mailboxes.")

    async def _await_mails(self, what: str, wanted: int) -> list[Taken]:
        """Waits until the server has sent as many mails today. Returns those that the mail host took meanwhile."""
        before, looks = len(self._host.taken), count(1)

        async def sent() -> int:
            taken = len(self._host.taken) - before
            if taken < wanted and next(looks) % _LOOKS:
                return taken
            # It notes what was taken a moment later, and tells if it can't send.
            return min(taken, sum(mailbox["sent_today"] for mailbox in await self._mailboxes()))

        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(what, total=wanted)
            await until(what, wanted, sent, tell=lambda found: progress.update(task, completed=found))
        return self._host.taken[before:]

    async def _mailboxes(self) -> list[dict[str, Any]]:
        """Returns what the server tells of its mailboxes. DemoFailed, with the reason, if one is not active."""
        told = [(await self._call("get_mailbox", mailbox=address))["mailbox"] for address in MAILBOXES]
        for mailbox in told:
            if mailbox["status"] != "active":
                raise DemoFailed(f"{mailbox['address']} is {mailbox['status']}: {mailbox.get('problem')}")
        return told

    async def _bring_answers(self) -> None:
        """Puts what comes back to the first emails into the INBOX of the mailbox that wrote."""
        began = self._clock.now - timedelta(hours=_TWO_DAYS)
        returned = [self._mailed[mail.recipient] for mail in returned_of(self._first.values())]
        self._stream.first_mails(self._mailed.values(), began, returned=returned)
        numbers = Counter[MailKind]()
        for email, person in self._mailed.items():
            if person.answer is not None:
                at = began + timedelta(hours=3, minutes=self._came_back)
                mail = self._answer(person, person.answer, numbers[person.answer], at)
                await self._deliver(self._first[email], mail, at)
                numbers[person.answer] += 1

    def _answer(self, person: Person, kind: MailKind, number: int, at: datetime) -> bytes:
        to = self._first[person.email]
        if kind is MailKind.BOUNCE:
            return answers.bounce(to, at)
        text = answers.words(kind, number, (at + _AWAY).date())
        return answers.letter(to, person.name, text, at, is_by_a_program=kind in _BY_PROGRAMS)

    async def _deliver(self, to: Taken, mail: bytes, at: datetime) -> None:
        await self._host.deliver(to.sender, mail, at)
        self._came_back += 1

    async def _report_what_happened(self, rows: Sequence[Row]) -> None:
        """Providers report deliveries, opens and clicks; an agent reports its invitations on LinkedIn; and what another
        program sent to these people comes before they are enrolled."""
        self._stream.invitations(self._going_on(), self._clock.now - timedelta(hours=1))
        early = len(self._stream.events)
        emails = people_of(rows).keys() - self._mailed.keys()
        self._imported = {
            email: Person(email, "", {"campaign_id": self._campaign_id, "email": email}) for email in sorted(emails)
        }
        self._stream.play(self._imported.values(), self._clock.now - _IMPORTED_BEFORE)
        events = self._stream.taken_events()
        disturbed = disturb(events, _SEED)
        await self._record(disturbed)
        check("recorded", self._recorded["recorded"], early)
        check("orphaned", self._recorded["orphaned"], len(events) - early)
        check("invalid", self._recorded["invalid"], 0)
        check("duplicates", self._recorded["duplicates"], len(disturbed) - len(events))
        # Their events have waited, and are counted now.
        await self._enroll(rows, told=", whom another program had written to")

    def _going_on(self) -> list[Person]:
        """Returns those whom the first email has not stopped, and who are not away."""
        people = self._mailed.values()
        return [person for person in people if person.status == "active" and person.answer is not MailKind.ABSENCE]

    async def _record(self, events: Sequence[Event]) -> None:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("Provider events", total=len(events))
            for at in range(0, len(events), _BATCH):
                batch = events[at : at + _BATCH]
                answer = await self._call("record_events", events=batch)
                names = ("recorded", "duplicates", "orphaned", "invalid")
                self._recorded.update({name: answer[name] for name in names})
                progress.advance(task, len(batch))

    async def _await_answers(self) -> None:
        """Waits until the server has read and judged what came back."""

        async def read() -> int:
            return sum(mailbox["recorded"] for mailbox in await self._mailboxes())

        await until("answers read", self._came_back, read)
        check("answers read", await read(), self._came_back)

    async def _follow_up(self) -> list[Taken]:
        """Three days later the follow-ups are due, and go out as far as the mailboxes may send a day."""
        for address in MAILBOXES:
            await self._call("update_mailbox", mailbox=address, daily_limit=_FOLLOW_UPS_A_DAY)
        self._clock.move(hours=_THREE_DAYS)
        going_on = self._going_on()
        due = Counter(self._first[person.email].sender for person in going_on)
        mails = await self._await_mails("Follow-ups", sum(min(count, _FOLLOW_UPS_A_DAY) for count in due.values()))
        followed = [self._mailed[mail.recipient] for mail in mails]
        checks.each_once(mails, [person.email for person in followed])
        check("follow-ups to people who were stopped", len(set(followed) - set(going_on)), 0)
        checks.in_their_threads(mails, self._first)
        self._stream.follow_ups(followed, self._clock.now)
        await self._record(disturb(self._stream.taken_events(), _SEED))
        left = [person for person in going_on if person.status == "active"]
        for person in left[:1]:
            await self._check_hold(person, "sender_daily_limit")
        away = [person for person in self._mailed.values() if person.answer is MailKind.ABSENCE]
        await self._check_hold(away[0], "absent")
        self._console.print(
            f"Days later, sent {len(mails)} follow-ups. {len(left)} wait for tomorrow (each mailbox may send "
            f"{_FOLLOW_UPS_A_DAY} a day now), {len(away)} for people who are away."
        )
        return mails

    async def _check_hold(self, person: Person, reason: str) -> None:
        told = await self._call("explain_due", enrollment_id=person.reference["enrollment_id"])
        check(f"holds of {person.email} by {reason}", sum(hold["reason"] == reason for hold in told["holds"]), 1)

    async def _answer_late(self, person: Person, to: Taken) -> None:
        """One person answers the follow-up."""
        at = self._clock.now
        self._stream.answered_late(person)
        await self._deliver(to, answers.letter(to, person.name, answers.LATE, at), at)
        await self._await_answers()

    async def _await_copies(self) -> None:
        async def filed() -> int:
            return len(await self._host.copies())

        await until("copies in Sent", len(self._host.taken), filed)
        checks.copies(await self._host.copies(), self._host.taken)
        self._console.print(f"Each of the {len(self._host.taken)} emails went out once and has one copy in Sent.")

    async def _tell(self, late: str) -> None:
        report = Report(self._call, self._console, self._campaign_id)
        people = [*self._mailed.values(), *self._imported.values()]
        enrollments = await report.enrollments()
        checks.ends(enrollments, self._mailed.values())
        for person in people:
            person.variant = enrollments[person.email]["a_b_variant"]
        await report.came_back(self._mailed)
        await report.inbox(sum(person.answer is MailKind.HUMAN for person in self._mailed.values()))
        await report.conversation(late)
        await report.funnel(self._stream.expected(people))
