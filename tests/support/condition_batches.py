"""What conditions and forecasts do for many people in one call."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy.orm import Session

from db.domain import conditions
from db.domain.events import EventType, NewEvent
from db.domain.states import Channel
from db.domain.templates import EmailStep
from db.services.dispatch import claims, forecast
from db.services.events import events
from db.services.people import contacts
from tests.support.batch_people import LATER, PUBLIC_URL, SENT, by_email, enroll_all, person
from tests.support.campaigns import NOW, make_campaign

OPENED = conditions.of_json({"fact": "opened", "step_number": 1, "else": "wait", "wait_hours": 48})
CITY = conditions.of_json({"fact": "attribute", "name": "city", "is": "Rome", "else": "skip"})
STEPS = [
    EmailStep(1, "One", "The first of all"),
    EmailStep(2, "Two", "You opened it", condition=OPENED),
    EmailStep(3, "Three", "{{ first_name }} of Rome", condition=CITY),
]


def asked(session: Session, emails: Sequence[str]) -> None:
    """People wait for a condition, which becomes true; and forecasts of campaigns with and without an approval."""
    campaign_id = make_campaign(session, email_steps=STEPS)
    answers = enroll_all(session, campaign_id, by_email(emails))
    ids = [answer.enrollment_id for answer in answers if answer.enrollment_id]
    events.record_events(session, events=[SENT(id_, step_number=1) for id_ in ids])
    claim = partial(claims.claim, session, campaign_id=campaign_id, channel=None, lease_seconds=60)
    claim(limit=len(emails), now=LATER)
    told = {number: person(email, title="Dr") for number, email in enumerate(emails)}
    contacts.find_or_create(session, people=told, overwrite=True)
    opened = partial(NewEvent, EventType.OPENED, Channel.EMAIL, NOW, step_number=1)
    events.record_events(session, events=[opened(enrollment_id=id_) for id_ in ids])
    asking = make_campaign(session, email_steps=STEPS, settings={"approval": "first_step"})
    enroll_all(session, asking, by_email(emails))
    forecast.read(session, campaign_id=None, mailbox=None, days=3, now=LATER, public_url=PUBLIC_URL)()
