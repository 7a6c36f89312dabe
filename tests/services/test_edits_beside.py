"""A change of steps beside those who claim, report and record: what they go by is one order of all of them."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from db.domain.errors import Refused
from db.domain.events import EventType
from db.domain.states import ActionOutcome
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions, claims
from db.services.dispatch.claims import Claim, DueAction
from db.services.events import events
from tests.support.campaigns import NOW, enroll, event, make_campaign, state
from tests.support.meeting import just_before, meet
from tests.support.steps import TAKES_STEPS, claim, report

HOUR = timedelta(hours=1)


def second(*, is_active: bool) -> EmailStep:
    return EmailStep(2, "Two", "The text of this step", delay_hours=1, is_active=is_active)


def running(database: Database) -> tuple[UUID, UUID]:
    """(campaign, enrollment): three steps, the second out of use."""
    steps = [
        EmailStep(1, "One", "The text of this step"),
        second(is_active=False),
        EmailStep(3, "Three", "The text of this step", delay_hours=72),
    ]
    campaign_id = database.run("make", partial(make_campaign, email_steps=steps))
    return campaign_id, enroll(database, campaign_id, ["a@example.com"])[0]


def switch_on(campaign_id: UUID, session: Session) -> None:
    template_id = campaigns.get(session, campaign_id=campaign_id).template_id
    changed = [second(is_active=True)]
    templates.update(session, template_id=template_id, fields={}, email_steps=changed, linkedin_steps=[])


def take(campaign_id: UUID, hours: float) -> Callable[[Session], Claim]:
    now = NOW + timedelta(hours=hours)
    return partial(claims.claim, campaign_id=campaign_id, channel=None, limit=10, lease_seconds=300, now=now)


def tell(held: DueAction, how: str) -> Callable[[Session], Any]:
    """That the first step was sent, or passed."""
    if how == "event":
        return partial(events.record_events, events=[event(EventType.SENT, held.enrollment.id, step_number=1)])
    return partial(
        actions.complete,
        action_id=held.action_id,
        lease_token=held.lease_token,
        outcome=ActionOutcome(how),
        provider=None,
        provider_message_id=None,
        error=None,
        now=NOW,
    )


@pytest.mark.parametrize("edits_first", [True, False])
@pytest.mark.parametrize("how", ["sent", "skipped", "event"])
def test_whoever_comes_to_a_step_while_it_is_switched_on_waits_for_its_delay(
    database: Database, how: str, edits_first: bool
) -> None:
    campaign_id, one = running(database)
    (held,) = claim(database, campaign_id)
    edit, told = partial(switch_on, campaign_id), tell(held, how)
    # Of what was read of the steps before the change no use is made: it is read again.
    met = meet(database, edit, told, attempts=2) if edits_first else meet(database, told, edit)
    assert met.waited
    met.second.result()
    assert (state(database, one)["current_step"], state(database, one)["next_action_at"]) == (1, NOW + HOUR)


def test_no_step_is_added_before_one_that_somebody_is_told_to_have_had_meanwhile(database: Database) -> None:
    steps = [EmailStep(number, "Hello", "The text of this step") for number in (1, 3, 4)]
    campaign_id = database.run("make", partial(make_campaign, email_steps=steps))
    (one,) = enroll(database, campaign_id, ["a@example.com"])
    told = partial(events.record_events, events=[event(EventType.SENT, one, step_number=3)])
    met = meet(database, told, partial(switch_on, campaign_id))
    assert met.waited
    assert isinstance(met.second.exception(), Refused)


@pytest.mark.parametrize("is_second_claim", [False, True])
def test_no_claim_goes_by_steps_that_it_read_before_they_were_changed(
    database: Database, is_second_claim: bool
) -> None:
    """The second claim of a step goes by the place under the daily limit that the first has taken."""
    campaign_id, one = running(database)
    report(database, claim(database, campaign_id)[0], ActionOutcome.SENT)
    if is_second_claim:
        with database.transaction("limit") as session:
            limited = {"settings": {"daily_limit": 1}}
            campaigns.update(session, campaign_id=campaign_id, fields=limited, now=NOW)
        assert len(claim(database, campaign_id, hours=72)) == 1
    edit = partial(database.run, "edit", partial(switch_on, campaign_id))
    with just_before(database, TAKES_STEPS, edit):
        assert claim(database, campaign_id, hours=72.5) == []
    handed = {due.enrollment.id: due.step.step_number for due in claim(database, campaign_id, hours=72.5)}
    # Whoever was handed the third step is past the second.
    assert handed == {one: 3 if is_second_claim else 2}


def test_a_change_of_steps_waits_for_the_claim_that_takes_steps_and_a_claim_for_no_change(database: Database) -> None:
    campaign_id, _ = running(database)
    edit = partial(switch_on, campaign_id)
    edited_first = meet(database, edit, take(campaign_id, 0))
    assert not edited_first.waited
    assert edited_first.second.result().actions == []
    assert meet(database, take(campaign_id, 0), edit).waited
