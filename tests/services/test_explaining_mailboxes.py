"""explain_due agrees with what agents and senders of mailboxes get, whatever happened before; no limit is broken."""

from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import Refused, SalesAutomationError
from db.domain.holds import HoldReason
from db.domain.mailboxes import LeaseRole
from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType, SuppressionReason
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.dispatch import actions, claims, explain
from db.services.dispatch.claims import DueAction
from db.services.dispatch.explain import Explanation
from db.services.enrollments import enrollments
from db.services.mail import leases, mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.people import suppressions
from tests.support.campaigns import NOW, make_campaign
from tests.support.outgoing import ANN, BEN, CLEO, SMTP

PEOPLE = 7
POOL = (ANN, BEN, CLEO)
ZONES = (None, "Asia/Tokyo", "America/New_York")
LIMITS = {
    HoldReason.DAILY_LIMIT,
    HoldReason.MIN_GAP,
    HoldReason.SENDER_DAILY_LIMIT,
    HoldReason.SENDER_HOURLY_LIMIT,
    HoldReason.SENDER_MIN_GAP,
}
BY_SERVER = {HoldReason.SENT_BY_SERVER, HoldReason.NO_SENDER_RUNNING}

pace: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"timezone": st.sampled_from(["UTC", "Asia/Kolkata", "Pacific/Apia"])},
    optional={
        "daily_limit": st.integers(1, 4),
        "hourly_limit": st.integers(1, 2),
        "min_gap_seconds": st.sampled_from([0, 600, 7200]),
        "window": st.just({"days": ["mon", "tue", "wed"], "start": "08:30", "end": "17:15"}),
        "ramp_up": st.just({"start": 1, "increase": 1}),
    },
)
whole: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"timezone": st.sampled_from(["UTC", "Europe/Berlin"])},
    optional={
        "use_contact_timezone": st.booleans(),
        "sending_window": st.just({"days": ["mon", "tue", "wed"], "start": "08:00", "end": "20:00"}),
    },
)
limits: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"daily_limit": st.integers(1, 5), "min_gap_seconds": st.integers(0, 3600)}
)
happening = st.tuples(
    st.sampled_from(
        ["claim", "claim", "sent", "sent", "failed", "skipped", "suppress", "pause", "resume", "rest", "work"]
    ),
    st.integers(0, PEOPLE - 1),
    st.integers(0, 2) | st.integers(0, 30),
)


class _Undo(Exception):
    """Ends a transaction without keeping it."""


@dataclass
class Story:
    """One campaign and its mailboxes, what was claimed of it and not reported, and the moment it has come to."""

    session: Session
    campaign_id: UUID
    enrollments: list[UUID]
    mailboxes: list[UUID]
    by_server: bool
    held: list[DueAction] = field(default_factory=list[DueAction])
    now: datetime = NOW

    def happens(self, what: str, number: int, hours: int) -> None:
        self.now += timedelta(hours=hours)
        if what == "claim":
            self.held += self.claim(limit=number + 1, only=number)
        elif what in ("sent", "failed", "skipped") and self.held:
            self._report(self.held.pop(), ActionOutcome(what))
        elif what == "suppress":
            email, reason = f"p{number}@example.com", SuppressionReason.MANUAL
            suppressions.suppress(self.session, email=email, reason=reason, source=None)
        elif what in ("pause", "resume"):
            action = EnrollmentAction(what)
            enrollments.update(self.session, enrollment_id=self.enrollments[number], action=action, now=self.now)
        elif what in ("rest", "work"):
            mailbox = self.mailboxes[number % len(self.mailboxes)]
            change = MailboxChange()
            mailboxes.update(self.session, mailbox=mailbox, change=change, is_paused=what == "rest")

    def claim(self, *, limit: int, only: int | None = None) -> list[DueAction]:
        """What agents get, and what each sender of a mailbox gets; or one of them, the one of that number."""
        agents = claims.claim(
            self.session, campaign_id=self.campaign_id, channel=None, limit=limit, lease_seconds=3600, now=self.now
        )
        found = [*agents.actions]
        chosen = self.mailboxes if only is None else [self.mailboxes[only % len(self.mailboxes)]]
        for mailbox_id in chosen:
            claim = claims.claim_for_mailbox(
                self.session, mailbox_id=mailbox_id, limit=limit, lease_seconds=3600, now=self.now
            )
            assert {due.enrollment.mailbox_id for due in claim.actions} <= {mailbox_id}
            assert claim.next_due_at is None or claim.next_due_at > self.now
            found += claim.actions
        return found

    def claim_all(self) -> set[UUID]:
        """Whose steps are handed out now, to whoever it may be."""
        found = set[UUID]()
        with suppress(Refused):
            while claimed := self.claim(limit=500):
                found |= {due.enrollment.id for due in claimed}
        return found

    def _report(self, due: DueAction, outcome: ActionOutcome) -> None:
        told: dict[str, Any] = {"provider": None, "provider_message_id": None, "error": None, "now": self.now}
        ids: dict[str, Any] = {"action_id": due.action_id, "lease_token": due.lease_token}
        actions.complete(self.session, outcome=outcome, **ids, **told)

    def explain(self, enrollment_id: UUID, now: datetime) -> Explanation:
        return explain.enrollment(self.session, enrollment_id=enrollment_id, now=now)


_SENT = text(
    "SELECT sender, reserved_at FROM campaign_actions WHERE status IN ('sent', 'claimed') AND channel = 'email'"
)
_MAILBOXES = text("SELECT a.sender, m.mailbox_id FROM campaign_actions a JOIN messages m ON m.action_id = a.id")


def assert_limits_are_kept(session: Session, paces: dict[str, dict[str, Any]]) -> None:
    sent: dict[str, list[datetime]] = defaultdict(list)
    for sender, at in session.execute(_SENT):
        sent[sender].append(at)
    for address, moments in sent.items():
        pace = paces[address]
        local = [at.astimezone(ZoneInfo(pace["timezone"])) for at in moments]
        days = Counter(at.date() for at in local)
        hours = Counter(at.astimezone(UTC) - timedelta(minutes=at.minute) for at in local)
        assert max(days.values()) <= pace.get("daily_limit", PEOPLE * 3)
        assert max(hours.values()) <= pace.get("hourly_limit", PEOPLE * 3)
        if "ramp_up" in pace:
            assert all(count <= 1 + (day - min(days)).days for day, count in days.items())


def begin(session: Session, chosen: dict[str, Any], paces: list[dict[str, Any]]) -> Story:
    ids = [
        mailboxes.connect(
            session, address=address, change=MailboxChange(smtp=SMTP, settings={"min_gap_seconds": 0, **pace})
        ).id
        for address, pace in zip(POOL, paces, strict=False)
    ]
    for mailbox_id in ids[:1]:
        leases.take(session, mailbox_id=mailbox_id, role=LeaseRole.SENDER, holder="here")
    campaign_id = make_campaign(
        session,
        email_steps=[
            EmailStep(1, "Hello", "The first of all"),
            EmailStep(3, "Again", "Dear {{ first_name }}, the last", delay_hours=24),
        ],
        linkedin_steps=[LinkedInStep(2, LinkedInStepType.MESSAGE, "Hello", delay_hours=5)],
        settings={**chosen, "mailboxes": list(POOL[: len(paces)])},
        start_at=NOW,
    )
    people = {
        n: ContactRef(
            None,
            ContactFields(
                email=f"p{n}@example.com", first_name="Ann" if n % 3 else None, timezone=ZONES[n % len(ZONES)]
            ),
        )
        for n in range(PEOPLE)
    }
    answers = enrollments.enroll(session, campaign_id=campaign_id, people=people, start_at=None, now=NOW)
    enrolled = [answers[n].enrollment_id or UUID(int=0) for n in range(PEOPLE)]
    return Story(session, campaign_id, enrolled, ids, chosen.get("sent_by") != "agent")


def check(told: Story) -> None:
    """What is explained now is what is handed out now."""
    explained = {id_: told.explain(id_, told.now) for id_ in told.enrollments}
    everything = explain.campaign(told.session, campaign_id=told.campaign_id, now=told.now)
    for id_, explanation in explained.items():
        if explanation.next_at is not None:
            # Nobody looks after the campaign until then.
            then = told.explain(id_, explanation.next_at)
            assert {hold.reason for hold in then.holds} <= LIMITS | BY_SERVER | {HoldReason.OVERDUE}
    due = {id_ for id_, explanation in explained.items() if {hold.reason for hold in explanation.holds} <= BY_SERVER}
    rows = text("SELECT count(*) FROM campaign_enrollments WHERE mailbox_id IS NULL AND status = 'active'")
    shares_out = told.by_server and bool(told.session.scalar(rows))
    claimed = told.claim_all()
    if shares_out:  # which of those who are due comes first depends on which sender asks first
        assert bool(due) == bool(claimed)
        for id_ in claimed - due:
            assert {hold.reason for hold in explained[id_].holds} & LIMITS
    else:
        assert claimed == due
    assert ({hold.reason for hold in everything.holds} <= BY_SERVER) == bool(claimed)


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    whole,
    limits,
    st.sampled_from(["server", "server", "agent"]),
    st.lists(pace, min_size=1, max_size=3),
    st.lists(happening, max_size=14),
    st.integers(0, 60),
)
def test_what_is_explained_is_what_agents_and_senders_get(
    database: Database,
    chosen: dict[str, Any],
    own_limits: dict[str, Any],
    sent_by: str,
    paces: list[dict[str, Any]],
    story: list[tuple[str, int, int]],
    hours: int,
) -> None:
    # Senders share out the limits of a campaign in the order in which they ask, so only agents have some here.
    more = own_limits if sent_by == "agent" else {}
    with suppress(_Undo), database.transaction("story") as session:
        told = begin(session, {**chosen, **more, "sent_by": sent_by}, paces)
        for what, number, later in story:
            # Refusals are part of the story.
            with suppress(SalesAutomationError), database.transaction("part"):
                told.happens(what, number, later)
        told.now += timedelta(hours=hours)
        check(told)
        assert_limits_are_kept(session, dict(zip(POOL, paces, strict=False)))
        assert all(mailbox_id is None or sender in POOL for sender, mailbox_id in session.execute(_MAILBOXES))
        raise _Undo
