"""Campaign templates and their steps."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer, selectinload

from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.scheduling import Step
from db.domain.states import Channel, PathType, TemplateType
from db.domain.templates import EmailStep, LinkedInStep
from db.models import (
    CampaignEnrollment,
    CampaignInstance,
    CampaignTemplate,
    EmailSequence,
    LinkedInSequence,
    TemplateStep,
)
from db.services.campaigns import approvals, plans, reschedule, step_conditions
from db.services.paging import Page, page
from db.services.texts import liquid


def create(
    session: Session,
    *,
    name: str,
    type: TemplateType,
    path_type: PathType,
    description: str | None,
    settings: dict[str, Any],
    email_steps: Sequence[EmailStep],
    linkedin_steps: Sequence[LinkedInStep],
) -> CampaignTemplate:
    """Makes a template with all its steps, or nothing."""
    _check_steps(type, email_steps, linkedin_steps)
    _check_first_subject(email_steps)
    step_conditions.check([*email_steps, *linkedin_steps])
    template = CampaignTemplate(name=name, type=type, path_type=path_type, description=description, settings=settings)
    session.add(template)
    session.flush()  # the steps refer to it by keys, not by relationships
    _add_numbers(session, template, {step.step_number: Channel.EMAIL for step in email_steps})
    _add_numbers(session, template, {step.step_number: Channel.LINKEDIN for step in linkedin_steps})
    session.add_all(_email_row(template.id, step) for step in email_steps)
    session.add_all(_linkedin_row(template.id, step) for step in linkedin_steps)
    session.flush()  # so that a refusal by the database belongs to this call
    return get(session, template_id=template.id)


def get(session: Session, *, template_id: UUID) -> CampaignTemplate:
    """Returns a template with its steps. NotFound if there is none."""
    statement = (
        select(CampaignTemplate)
        .where(CampaignTemplate.id == template_id)
        .options(selectinload(CampaignTemplate.email_steps), selectinload(CampaignTemplate.linkedin_steps))
        .execution_options(populate_existing=True)
    )
    template = session.scalars(statement).one_or_none()
    if template is None:
        raise NotFound("template", template_id)
    return template


def list_(
    session: Session,
    *,
    type: TemplateType | None,
    include_archived: bool,
    limit: int,
    cursor: str | None,
    with_texts: bool,
) -> Page[CampaignTemplate]:
    """Returns templates, newest first, with their steps; without `with_texts` with the numbers of their steps alone."""
    emails, messages = selectinload(CampaignTemplate.email_steps), selectinload(CampaignTemplate.linkedin_steps)
    statement = select(CampaignTemplate)
    if with_texts:
        statement = statement.options(emails, messages)
    else:
        statement = statement.options(
            defer(CampaignTemplate.settings, raiseload=True),
            emails.load_only(EmailSequence.step_number, EmailSequence.is_active, raiseload=True),
            messages.load_only(LinkedInSequence.step_number, LinkedInSequence.is_active, raiseload=True),
        )
    if type is not None:
        statement = statement.where(CampaignTemplate.type == type)
    if not include_archived:
        statement = statement.where(CampaignTemplate.is_active)
    return page(session, statement, by=[CampaignTemplate.id], limit=limit, cursor=cursor, listing="templates")


def update(
    session: Session,
    *,
    template_id: UUID,
    fields: dict[str, Any],
    email_steps: Sequence[EmailStep],
    linkedin_steps: Sequence[LinkedInStep],
) -> CampaignTemplate:
    """Changes `fields` (name, description, settings), and adds or replaces the given steps, by number and variant.

    Other steps stay. Refused if a new step would come before one that somebody has done.
    """
    template = _lock(session, template_id)
    changes_steps = bool(email_steps or linkedin_steps)
    campaign_ids = reschedule.lock_campaigns(session, template_id=template_id) if changes_steps else ()
    before = plans.steps_of_template(session, template_id=template_id)
    for name, value in fields.items():
        setattr(template, name, value)
    _check_steps(TemplateType(template.type), email_steps, linkedin_steps)
    numbers = {step.step_number: Channel.EMAIL for step in email_steps}
    numbers |= {step.step_number: Channel.LINKEDIN for step in linkedin_steps}
    first_new = _add_new_numbers(session, template, numbers)
    for step in email_steps:
        _replace_email(session, template.id, step)
    for step in linkedin_steps:
        _replace_linkedin(session, template.id, step)
    session.flush()  # so that the query below sees the steps
    updated = get(session, template_id=template_id)
    _check_variants(updated.email_steps)
    _check_first_subject(updated.email_steps)
    step_conditions.check(step_conditions.of_template(updated))
    reschedule.after_a_change(session, template_id=template_id, campaign_ids=campaign_ids, before=before)
    approvals.ask_anew(session, campaign_ids=campaign_ids)
    if first_new is not None:  # again, since what was told meanwhile was waited for
        _refuse_steps_before_done_ones(session, template_id, first_new)
    return updated


def lock_steps(session: Session, *, template_id: UUID) -> list[Step]:
    """Returns the active steps of a template, locked against changes by other transactions. NotFound if there is
    none."""
    _lock(session, template_id)
    return plans.steps_of_template(session, template_id=template_id)


def archive(session: Session, *, template_id: UUID) -> CampaignTemplate:
    """Archives a template. Its running campaigns go on; no new campaign can be made of it."""
    _lock(session, template_id).is_active = False
    session.flush()  # updated_at is the database's
    return get(session, template_id=template_id)


def _lock(session: Session, template_id: UUID) -> CampaignTemplate:
    template = session.get(CampaignTemplate, template_id, with_for_update=True)
    if template is None:
        raise NotFound("template", template_id)
    return template


def _check_steps(type: TemplateType, email: Sequence[EmailStep], linkedin: Sequence[LinkedInStep]) -> None:
    if email and type is TemplateType.LINKEDIN:
        raise InvalidInput(
            "email_steps don't belong in a linkedin template. Use type multi_channel, or leave them out."
        )
    if linkedin and type is TemplateType.EMAIL:
        raise InvalidInput(
            "linkedin_steps don't belong in an email template. Use type multi_channel, or leave them out."
        )
    _unique(((step.step_number, step.a_b_variant) for step in email), "email_steps")
    _unique(((step.step_number, None) for step in linkedin), "linkedin_steps")
    shared = {step.step_number for step in email} & {step.step_number for step in linkedin}
    if shared:
        raise InvalidInput(
            f"step_number {min(shared)} is in email_steps and in linkedin_steps. One number belongs to one channel."
        )
    _check_variants(email)
    _check_threads(email)
    for step in email:
        liquid.check(step.subject or "", f"subject of step {step.step_number}")
        liquid.check(step.body, f"body of step {step.step_number}")
    for message in linkedin:
        liquid.check(message.message or "", f"message of step {message.step_number}")


def _unique(keys: Iterable[tuple[int, str | None]], argument: str) -> None:
    seen: set[tuple[int, str | None]] = set()
    for number, variant in keys:
        if (number, variant) in seen:
            of = f" of variant {variant}" if variant else ""
            raise InvalidInput(f"{argument} has step_number {number}{of} twice. Give each step once.")
        seen.add((number, variant))


def _check_variants(email: Iterable[EmailStep | EmailSequence]) -> None:
    named: dict[int, set[bool]] = defaultdict(set)
    for step in email:
        if step.is_active:
            named[step.step_number].add(step.a_b_variant is not None)
    for number, kinds in named.items():
        if len(kinds) > 1:
            raise InvalidInput(
                f"step_number {number} has both an email with an a_b_variant and one without. Give every one a variant."
            )


def _check_threads(email: Iterable[EmailStep]) -> None:
    for step in email:
        if step.new_thread and step.subject is None:
            raise InvalidInput(
                f"step_number {step.step_number} has new_thread and no subject. A mail that begins a thread needs one."
            )


def _check_first_subject(email: Iterable[EmailStep | EmailSequence]) -> None:
    active = [step for step in email if step.is_active]
    first = min((step.step_number for step in active), default=0)
    if any(step.subject is None for step in active if step.step_number == first) or any(
        step.subject is None for step in email if step.step_number == 1
    ):
        raise InvalidInput(
            f"step_number {first or 1} is the first email and has no subject. Give it one; emails after it may go "
            "without, and then answer it."
        )


def _add_numbers(session: Session, template: CampaignTemplate, numbers: dict[int, Channel]) -> None:
    session.add_all(
        TemplateStep(template_id=template.id, step_number=number, channel=channel, template_type=template.type)
        for number, channel in numbers.items()
    )
    session.flush()  # the sequences refer to these rows


def _add_new_numbers(session: Session, template: CampaignTemplate, numbers: dict[int, Channel]) -> int | None:
    """Adds the numbers that the template does not have. Returns the smallest of them."""
    statement = select(TemplateStep).where(TemplateStep.template_id == template.id)
    known = {step.step_number: step.channel for step in session.scalars(statement)}
    for number, channel in numbers.items():
        if known.get(number, channel) != channel:
            raise InvalidInput(f"step_number {number} belongs to {known[number]} in this template. Use another number.")
    new = {number: channel for number, channel in numbers.items() if number not in known}
    if new:
        _refuse_steps_before_done_ones(session, template.id, min(new))
        _add_numbers(session, template, new)
    return min(new, default=None)


def _refuse_steps_before_done_ones(session: Session, template_id: UUID, number: int) -> None:
    statement = (
        select(func.max(CampaignEnrollment.current_step))
        .join(CampaignInstance, CampaignInstance.id == CampaignEnrollment.campaign_id)
        .where(CampaignInstance.template_id == template_id)
    )
    done = session.scalar(statement) or 0
    if number <= done:
        raise Refused(
            f"step_number {number} can't be added: somebody has done step {done} already, or was handed the one after "
            f"it, and would miss it. "
            f"Add steps from {done + 1} on, or make a new template."
        )


def _replace_email(session: Session, template_id: UUID, step: EmailStep) -> None:
    statement = select(EmailSequence).where(
        EmailSequence.template_id == template_id,
        EmailSequence.step_number == step.step_number,
        EmailSequence.a_b_variant.is_not_distinct_from(step.a_b_variant),
    )
    row = session.scalars(statement).one_or_none()
    if row is None:
        session.add(_email_row(template_id, step))
        return
    row.subject, row.body, row.delay_hours, row.is_active = step.subject, step.body, step.delay_hours, step.is_active
    row.new_thread, row.condition = step.new_thread, _kept(step)


def _replace_linkedin(session: Session, template_id: UUID, step: LinkedInStep) -> None:
    statement = select(LinkedInSequence).where(
        LinkedInSequence.template_id == template_id, LinkedInSequence.step_number == step.step_number
    )
    row = session.scalars(statement).one_or_none()
    if row is None:
        session.add(_linkedin_row(template_id, step))
        return
    row.type, row.message, row.delay_hours, row.is_active = step.type, step.message, step.delay_hours, step.is_active
    row.condition = _kept(step)


def _email_row(template_id: UUID, step: EmailStep) -> EmailSequence:
    return EmailSequence(
        template_id=template_id,
        step_number=step.step_number,
        subject=step.subject,
        body=step.body,
        delay_hours=step.delay_hours,
        a_b_variant=step.a_b_variant,
        is_active=step.is_active,
        new_thread=step.new_thread,
        condition=_kept(step),
    )


def _linkedin_row(template_id: UUID, step: LinkedInStep) -> LinkedInSequence:
    return LinkedInSequence(
        template_id=template_id,
        step_number=step.step_number,
        type=step.type,
        message=step.message,
        delay_hours=step.delay_hours,
        is_active=step.is_active,
        condition=_kept(step),
    )


def _kept(step: EmailStep | LinkedInStep) -> dict[str, Any] | None:
    return None if step.condition is None else step.condition.to_json()
