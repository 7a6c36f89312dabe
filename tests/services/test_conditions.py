"""Steps with a condition: they go out where it is true, and are skipped or wait where it is false."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from db.domain import conditions
from db.domain.conditions import Fact, Facts
from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import InvalidInput
from db.domain.events import EventType
from db.domain.states import ActionOutcome, CampaignStatus, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions, explain
from db.services.enrollments import enrollments
from db.services.people import contacts
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, event, make_campaign, record, state
from tests.support.steps import claim, claim_at, report, run_sql


def when(fact: str, /, **said: Any) -> conditions.Condition:
    return conditions.of_json({"fact": fact, "else": "wait" if "wait_hours" in said else "skip", **said})


def email(number: int, condition: conditions.Condition | None = None, *, delay: int = 0) -> EmailStep:
    return EmailStep(number, f"Subject {number}", "A body for all", delay, condition=condition)


def make(database: Database, steps: Sequence[EmailStep | LinkedInStep], **settings: Any) -> UUID:
    make_it = partial(
        make_campaign,
        email_steps=[step for step in steps if isinstance(step, EmailStep)],
        linkedin_steps=[step for step in steps if isinstance(step, LinkedInStep)],
        settings=settings,
    )
    return database.run("make", make_it)


def explained(database: Database, enrollment_id: UUID, hours: float) -> explain.Explanation:
    look = partial(explain.enrollment, enrollment_id=enrollment_id, now=NOW + timedelta(hours=hours))
    return database.run("explain", look, read_only=True)


def send(database: Database, campaign_id: UUID, *, hours: float = 0) -> list[tuple[UUID, int]]:
    """Claim all that is due and report it sent. Returns whose step of which number."""
    claimed = claim(database, campaign_id, hours=hours)
    for due in claimed:
        report(database, due, ActionOutcome.SENT, hours=hours)
    return [(due.enrollment.id, due.step.step_number) for due in claimed]


def kept_actions(database: Database, enrollment_id: UUID) -> list[tuple[Any, ...]]:
    rows = run_sql(
        database,
        "SELECT step_number, status, error IS NOT NULL FROM campaign_actions WHERE enrollment_id = :id ORDER BY 1",
        id=enrollment_id,
    )
    return [tuple(row) for row in rows]


FACTS = Facts(
    steps={Fact.OPENED: frozenset({1}), Fact.CLICKED: frozenset(), Fact.ACCEPTED: frozenset()},
    replies=frozenset({"absence"}),
    variant="A",
    attributes={"city": "Berlin", "tags": ["vip", 7], "gone": "", "flag": True},
)


@pytest.mark.parametrize(
    ("condition", "is_true"),
    [
        (when("opened"), True),
        (when("opened", step_number=1), True),
        (when("opened", step_number=2), False),
        (when("opened", **{"is": False}), False),
        (when("opened", **{"not": True}), False),
        (when("clicked", **{"is": False}), True),
        (when("clicked", **{"not": False}), False),
        (when("accepted"), False),
        (when("reply_kind"), True),
        (when("reply_kind", **{"is": "absence"}), True),
        (when("reply_kind", **{"not": "auto_reply"}), True),
        (when("variant", **{"is": "a"}), True),
        (when("variant", **{"not": "A"}), False),
        (when("attribute", name="city"), True),
        (when("attribute", name="gone"), False),
        (when("attribute", name="city", **{"is": "berlin "}), True),
        (when("attribute", name="town", **{"is": "Berlin"}), False),
        (when("attribute", name="town", **{"not": "Berlin"}), True),
        (when("attribute", name="tags", **{"is": "VIP"}), True),
        (when("attribute", name="tags", **{"is": "7"}), True),
        (when("attribute", name="flag", **{"is": True}), True),
    ],
    ids=lambda value: value.told if isinstance(value, conditions.Condition) else "",
)
def test_a_condition_is_true_or_false_of_what_is_known(condition: conditions.Condition, is_true: bool) -> None:
    assert conditions.is_met(condition, FACTS) is is_true


def test_a_false_step_is_skipped_and_a_true_one_goes_out(database: Database) -> None:
    campaign_id = make(database, [email(1), email(2, when("opened", step_number=1), delay=24), email(3, delay=24)])
    keen, idle = enroll(database, campaign_id, ["keen@example.com", "idle@example.com"])
    assert len(send(database, campaign_id)) == 2
    # What a machine opens counts for nothing.
    record(
        database,
        event(EventType.OPENED, keen, hours=1, step_number=1),
        event(EventType.MACHINE_OPENED, idle, hours=1, step_number=1),
    )
    told = explained(database, idle, 24)
    assert (told.is_due, told.step and told.step.step_number) == (False, 3)
    assert (told.holds[0].reason, told.next_at) == ("step_delay", NOW + timedelta(hours=48))
    assert "opened of step 1" in told.holds[0].detail
    assert explained(database, keen, 24).is_due
    assert send(database, campaign_id, hours=24) == [(keen, 2)]
    assert kept_actions(database, idle) == [(1, "sent", False), (2, "skipped", True)]
    assert state(database, idle)["current_step"] == 2
    assert set(send(database, campaign_id, hours=48)) == {(keen, 3), (idle, 3)}
    assert {state(database, one)["stop_reason"] for one in (keen, idle)} == {"finished"}
    assert_counters_are_exact(database)


def test_a_step_waits_for_its_condition_and_goes_out_once_it_is_true(database: Database) -> None:
    condition = when("clicked", step_number=1, wait_hours=48)
    campaign_id = make(database, [email(1), email(2, condition, delay=24)])
    early, late, never = enroll(database, campaign_id, [f"{name}@example.com" for name in ("early", "late", "never")])
    send(database, campaign_id)
    record(database, event(EventType.CLICKED, early, hours=30, step_number=1))  # before a claim has looked
    assert send(database, campaign_id, hours=24 + 6) == [(early, 2)]
    told = explained(database, late, 30)
    assert [(hold.reason, hold.until) for hold in told.holds] == [("condition_waits", NOW + timedelta(hours=72))]
    claimed = claim_at(database, campaign_id, NOW + timedelta(hours=31))
    assert (claimed.actions, claimed.next_due_at) == ([], NOW + timedelta(hours=72))
    record(database, event(EventType.CLICKED, late, hours=40, step_number=1))
    assert explained(database, late, 40).is_due
    assert send(database, campaign_id, hours=40) == [(late, 2)]
    assert not explained(database, never, 71.9).is_due
    assert send(database, campaign_id, hours=72) == []
    assert state(database, never)["stop_reason"] == "finished"
    assert kept_actions(database, never)[-1] == (2, "skipped", True)


def test_an_attribute_that_becomes_known_ends_the_wait(database: Database) -> None:
    condition = when("attribute", name="city", wait_hours=48, **{"is": "Berlin"})
    campaign_id = make(database, [email(1, condition), email(2)])
    (one,) = enroll(database, campaign_id, ["one@example.com"])
    assert send(database, campaign_id) == []
    known = ContactFields(email="one@example.com", attributes={"city": "Berlin"})
    database.run("tell", lambda session: contacts.find_or_create(session, people={0: known}, overwrite=True))
    assert send(database, campaign_id, hours=1) == [(one, 1)]


def test_a_step_that_was_handed_out_is_not_asked_about_again(database: Database) -> None:
    campaign_id = make(database, [email(1, when("attribute", name="city", **{"is": "Berlin"}))])
    ref = ContactRef(None, ContactFields(email="one@example.com", attributes={"city": "Berlin"}))
    database.run(
        "enroll",
        lambda session: enrollments.enroll(session, campaign_id=campaign_id, people={0: ref}, start_at=None, now=NOW),
    )
    assert len(claim(database, campaign_id)) == 1
    moved = ContactFields(email="one@example.com", attributes={"city": "Rome"})
    database.run("move", lambda session: contacts.find_or_create(session, people={0: moved}, overwrite=True))
    assert len(claim(database, campaign_id, hours=1)) == 1  # its lease has run out


def test_one_claim_comes_past_many_whose_steps_are_skipped(database: Database) -> None:
    condition = when("attribute", name="city")
    campaign_id = make(database, [email(1, condition), email(2, condition), email(3, delay=1)])
    enroll(database, campaign_id, [f"p{number}@example.com" for number in range(150)])
    claimed = claim_at(database, campaign_id, NOW, limit=1)
    assert (claimed.actions, claimed.is_more, claimed.next_due_at) == ([], False, NOW + timedelta(hours=1))
    assert {(aside.fate, aside.reason, aside.count) for aside in claimed.set_aside} == {("moved", "step_delay", 300)}
    counted = run_sql(database, "SELECT current_step, count(*) FROM campaign_enrollments GROUP BY 1")
    assert counted.all() == [(2, 150)]


def test_drafts_are_made_where_the_condition_is_true(database: Database) -> None:
    condition = when("opened", step_number=1)
    steps = [LinkedInStep(2, LinkedInStepType.MESSAGE, "You opened it", 24, condition=condition), email(1)]
    campaign_id = make(database, steps, approval="all")
    keen, idle = enroll(database, campaign_id, ["keen@example.com", "idle@example.com"])
    for one in (keen, idle):
        record(database, event(EventType.SENT, one, step_number=1))
    record(database, event(EventType.OPENED, keen, hours=1, step_number=1))
    claim(database, campaign_id, hours=2)
    drafted = run_sql(database, "SELECT enrollment_id FROM action_drafts WHERE step_number = 2").scalars().all()
    assert drafted == [keen]


def test_a_preview_tells_the_condition_that_is_false(database: Database) -> None:
    campaign_id = make(database, [email(1), email(2, when("opened", step_number=1))])
    (one,) = enroll(database, campaign_id, ["one@example.com"])
    look = partial(
        actions.preview, enrollment_id=one, campaign_id=None, contact_id=None, step_number=2, a_b_variant=None
    )
    assert database.run("preview", look, read_only=True).unmet == "opened of step 1"
    record(database, event(EventType.OPENED, one, step_number=1))
    assert database.run("preview", look, read_only=True).unmet is None


CONNECT = LinkedInStep(1, LinkedInStepType.CONNECTION_REQUEST, "Hello")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([email(1, when("opened"))], "opened is asked of an email before step 1"),
        ([email(1), email(2, when("opened", step_number=2))], "must come before step 2"),
        ([email(1), email(3, when("opened", step_number=2))], "step 2 is none. Such steps: 1"),
        ([CONNECT, email(2, when("clicked", step_number=1))], "step 1 is none. Such steps: none"),
        ([email(1), email(2, when("accepted"))], "accepted is asked of a connection_request before step 2"),
        ([email(1), email(2, when("variant", **{"is": "B"}))], "no such variant"),
        ([email(1), email(2, when("attribute"))], "needs name"),
        ([email(1), email(2, when("attribute", name="a", **{"is": "x", "not": "y"}))], "has is and not"),
        ([email(1), email(2, when("reply_kind", **{"is": "smoke"}))], "known are human"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_condition_that_no_step_can_meet_is_refused(
    database: Database, steps: Sequence[EmailStep | LinkedInStep], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        make(database, steps)


def test_a_changed_condition_is_asked_of_who_waits(database: Database) -> None:
    campaign_id = make(database, [email(1), email(2, when("opened", wait_hours=100))])
    (one,) = enroll(database, campaign_id, ["one@example.com"])
    send(database, campaign_id)
    assert send(database, campaign_id, hours=1) == []
    with database.transaction("change") as session:
        template_id = campaigns.get(session, campaign_id=campaign_id).template_id
        templates.update(session, template_id=template_id, fields={}, email_steps=[email(2)], linkedin_steps=[])
    assert send(database, campaign_id, hours=2) == [(one, 2)]


def test_a_condition_that_cannot_be_read_pauses_its_campaign(database: Database) -> None:
    broken, sound = (make(database, [email(1)]) for _ in range(2))
    for number, campaign_id in enumerate((broken, sound)):
        enroll(database, campaign_id, [f"p{number}@example.com"])
    run_sql(
        database,
        """UPDATE email_sequences SET condition = '{"fact": "reply_kind", "is": "smoke", "else": "skip"}'
        FROM campaign_instances i WHERE i.id = :id AND email_sequences.template_id = i.template_id""",
        id=broken,
    )
    assert {due.enrollment.campaign_id for due in claim_at(database, None, NOW).actions} == {sound}
    with database.transaction("look") as session:
        paused = campaigns.get(session, campaign_id=broken)
        assert paused.status == CampaignStatus.PAUSED
        assert (paused.pause_reason or "").startswith("invalid_settings: when of step 1")
