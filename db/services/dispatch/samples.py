"""Renders a step as its first person would get it, or an invented one where nobody is enrolled yet. Nobody's address is
in it."""

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.domain.errors import InvalidInput
from db.domain.scheduling import Recipient, step_for
from db.domain.states import Channel
from db.models import CampaignEnrollment, Contact
from db.services.campaigns import campaigns, earlier_mails, plans
from db.services.campaigns.step_texts import Text, Texts
from db.services.texts import liquid

_INVENTED: Final = {"first_name": "Sam", "last_name": "Sample", "company": "Sample Company", "title": "Head of Samples"}
_NOBODY: Final = UUID(int=0)


def email_of_step(
    session: Session, *, campaign_id: UUID, step_number: int, address: str, public_url: str | None
) -> Text:
    """Returns an email step, filled in for a person whose email is `address`. NotFound if there is no such campaign;
    InvalidInput if it has no such email, or if it can't be filled in."""
    campaigns.get(session, campaign_id=campaign_id)
    texts = Texts.of_campaigns(session, plans.of_campaigns(session, campaign_ids=[campaign_id]), public_url)
    person, variant = _first_person(session, campaign_id) or (_invented(texts, campaign_id), None)
    recipient = Recipient(campaign_id, person.id, variant)
    steps = texts.plans[campaign_id].steps
    step = step_for(steps, step_number, recipient)
    if step is None or step.channel is not Channel.EMAIL:
        numbers = sorted({other.step_number for other in steps if other.channel is Channel.EMAIL})
        known = f"Its emails: {', '.join(map(str, numbers))}." if numbers else "It has none."
        raise InvalidInput(f"step_number: the campaign has no active email with that number. {known}")
    person.email = address
    before = earlier_mails.before(session, None, steps, 0, step, recipient)
    return texts.render(recipient, None, step, person, before)


def _first_person(session: Session, campaign_id: UUID) -> tuple[Contact, str | None] | None:
    """Returns a copy of the person who was enrolled first, without addresses, and their variant."""
    first = session.execute(
        select(Contact, CampaignEnrollment.a_b_variant)
        .join(CampaignEnrollment, CampaignEnrollment.contact_id == Contact.id)
        .where(CampaignEnrollment.campaign_id == campaign_id, Contact.erased_at.is_(None))
        .order_by(CampaignEnrollment.id)
        .limit(1)
    ).one_or_none()
    if first is None:
        return None
    contact, variant = first
    fields = {name: getattr(contact, name) for name in (*_INVENTED, "timezone", "attributes")}
    return Contact(id=contact.id, **fields), variant


def _invented(texts: Texts, campaign_id: UUID) -> Contact:
    """Returns a person who has all attributes that the campaign's texts ask for: each has its own name for a value."""
    attributes: dict[str, Any] = {}
    for path in sorted(set(_attributes(texts, campaign_id)), key=len):
        at = attributes
        for part in path[:-1]:
            if not isinstance(at.get(part), dict):
                at[part] = {}
            at = at[part]
        at[path[-1]] = path[-1]
    return Contact(id=_NOBODY, **_INVENTED, timezone="UTC", attributes=attributes)


def _attributes(texts: Texts, campaign_id: UUID) -> Iterator[tuple[str, ...]]:
    template_id = texts.campaigns[campaign_id].template_id
    for (template, step_number, _), source in texts.sources.items():
        if template == template_id:
            for written in (source.subject, source.body):
                paths = (path for path, _ in liquid.uses(written or "", f"step {step_number}"))
                yield from (path[1:] for path in paths if path[0] == "attributes" and len(path) > 1)
