"""The texts of campaigns' steps, and their rendering for one person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.domain.funnel import Enrollment
from db.domain.scheduling import Plan, Step, next_step
from db.domain.states import Channel
from db.models import CampaignInstance, Contact, EmailSequence, LinkedInSequence
from db.services import rendering, unsubscribing
from db.services.unsubscribing import Links

STEP_TYPE_OF_EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Text:
    """What is sent: `step_type` is email, or the type of the LinkedIn step; a step may have no text at all."""

    step_type: str
    subject: str | None
    body: str | None
    unsubscribe_url: str | None = None
    """Of an email, where this server has a public address."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The active steps of some campaigns with their texts."""

    campaigns: dict[UUID, CampaignInstance]
    plans: Mapping[UUID, Plan]
    emails: dict[tuple[UUID, int, str | None], EmailSequence]
    linkedin: dict[tuple[UUID, int], LinkedInSequence]
    links: Links | None

    @classmethod
    def of_campaigns(cls, session: Session, plans: Mapping[UUID, Plan], public_url: str | None) -> Self:
        """Of the campaigns of `plans`. `public_url`: where people reach this server, for the links by which they
        unsubscribe."""
        campaigns = {
            campaign.id: campaign
            for campaign in session.scalars(select(CampaignInstance).where(CampaignInstance.id.in_(plans)))
        }
        templates = {campaign.template_id for campaign in campaigns.values()}
        emails = session.scalars(select(EmailSequence).where(EmailSequence.template_id.in_(templates)))
        linkedin = session.scalars(select(LinkedInSequence).where(LinkedInSequence.template_id.in_(templates)))
        return cls(
            campaigns,
            plans,
            {(each.template_id, each.step_number, each.a_b_variant): each for each in emails},
            {(each.template_id, each.step_number): each for each in linkedin},
            unsubscribing.links(session, base=public_url),
        )

    def next_step(self, enrollment: Enrollment) -> Step | None:
        """The step that comes next for this enrollment, or None."""
        steps = self.plans[enrollment.instance_id].steps
        return next_step(steps, enrollment.current_step, enrollment.a_b_variant)

    def render(self, instance_id: UUID, enrollment_id: UUID | None, step: Step, contact: Contact) -> Text:
        """The step for one person. MissingVariable or InvalidInput say why it can't be sent as it is.

        Without an enrollment, as for a preview, the link to unsubscribe leads nowhere.
        """
        campaign = self.campaigns[instance_id]
        known = variables(contact, campaign)
        where = f"step {step.step_number}"
        if step.channel is Channel.EMAIL:
            email = self.emails[campaign.template_id, step.step_number, step.a_b_variant]
            url = self.links.url(enrollment_id or UUID(int=0), step.step_number) if self.links else None
            if url is not None:
                known[UNSUBSCRIBE_URL] = url
            subject = rendering.render(email.subject, known, f"subject of {where}")
            return Text(STEP_TYPE_OF_EMAIL, subject, rendering.render(email.body, known, f"body of {where}"), url)
        linkedin = self.linkedin[campaign.template_id, step.step_number]
        message = linkedin.message and rendering.render(linkedin.message, known, f"message of {where}")
        return Text(linkedin.type, None, message)


# In emails alone, and only where the server has a public address.
UNSUBSCRIBE_URL = "unsubscribe_url"
PERSONAL = ("email", "linkedin_url", "first_name", "last_name", "company", "title", "timezone")


def variables(contact: Contact, campaign: CampaignInstance) -> dict[str, Any]:
    """What a text may use: the person's fields, `attributes`, and `campaign` with the campaign's name and variables.
    An empty field counts as missing."""
    personal = {name: value for name in PERSONAL if (value := getattr(contact, name))}
    return {**personal, "attributes": contact.attributes, "campaign": campaign_variables(campaign)}


def campaign_variables(campaign: CampaignInstance) -> dict[str, Any]:
    """What `campaign` holds in a text: `name`, and the variables of the campaign's settings."""
    return {**campaign.settings.get("variables", {}), "name": campaign.name}
