"""The steps that campaigns follow: the active steps of their templates, as the scheduling rules want them."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import String, cast, literal, null, select, union_all
from sqlalchemy.orm import Session

from db.domain.scheduling import Step
from db.domain.states import Channel
from db.models import CampaignInstance, EmailSequence, LinkedInSequence


def of_campaigns(session: Session, *, instance_ids: Iterable[UUID]) -> dict[UUID, list[Step]]:
    """The active steps of each campaign, by step number and variant, in one statement."""
    wanted = list(instance_ids)
    email = select(
        CampaignInstance.id,
        EmailSequence.step_number,
        literal(Channel.EMAIL.value).label("channel"),
        EmailSequence.delay_hours,
        EmailSequence.a_b_variant,
    ).join(EmailSequence, EmailSequence.template_id == CampaignInstance.template_id)
    linkedin = select(
        CampaignInstance.id,
        LinkedInSequence.step_number,
        literal(Channel.LINKEDIN.value),
        LinkedInSequence.delay_hours,
        cast(null(), String),
    ).join(LinkedInSequence, LinkedInSequence.template_id == CampaignInstance.template_id)
    rows = session.execute(
        union_all(
            email.where(CampaignInstance.id.in_(wanted), EmailSequence.is_active),
            linkedin.where(CampaignInstance.id.in_(wanted), LinkedInSequence.is_active),
        ).order_by("step_number", "a_b_variant")
    )
    steps: dict[UUID, list[Step]] = {instance_id: [] for instance_id in wanted}
    for instance_id, step_number, channel, delay_hours, variant in rows:
        steps[instance_id].append(Step(step_number, Channel(channel), delay_hours, variant))
    return steps
