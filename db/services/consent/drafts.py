"""Drafts are written for one person, and listed for who approves them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from db.domain.contacts import CONTACT_TEXTS
from db.domain.draft_lint import Known, lint
from db.domain.drafts import Approval, DraftSource, DraftStatus, Literal
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.field_limits import SUBJECT_MAX
from db.domain.holds import ANEW
from db.domain.scheduling import Step, next_step, step_for
from db.domain.states import OPEN, ActionStatus, CampaignStatus, Channel, MessageStatus
from db.domain.texts import is_blank, is_one_line
from db.models import ActionDraft, CampaignEnrollment, Contact, Thread
from db.services.campaigns import campaigns, earlier_mails, plans
from db.services.campaigns.step_texts import Texts, longest
from db.services.consent import asked as asked_of
from db.services.consent.asked import wording
from db.services.consent.drafting import choose_mailboxes
from db.services.paging import Page, page
from db.services.state import draft_rows, enrollment_rows
from db.services.state.draft_rows import NewDraft
from db.services.texts import unsubscribe_links


def write(
    session: Session,
    *,
    enrollment_id: UUID,
    step_number: int | None,
    subject: str | None,
    body: str,
    now: datetime,
    public_url: str | None,
) -> ActionDraft:
    """Keeps words for one step of one person, in the place of those that it had: the next step, or that of
    `step_number`. They stand as they are. Where the campaign asks nobody, they count as approved.

    NotFound, Refused and InvalidInput say why they can't be taken.
    """
    campaign_id = session.scalar(select(CampaignEnrollment.campaign_id).where(CampaignEnrollment.id == enrollment_id))
    if campaign_id is None:
        raise NotFound("enrollment", enrollment_id)
    status = campaigns.lock_for_command(session, campaign_id=campaign_id)
    enrollment = enrollment_rows.lock_one(session, enrollment_id=enrollment_id)
    assert enrollment is not None, "enrollments are not deleted one by one"
    _check_goes_on(enrollment, status)
    if public_url is not None:
        unsubscribe_links.make_key(session)
    plan = plans.of_campaign(session, campaign_id=campaign_id)
    texts = Texts.of_campaigns(session, {campaign_id: plan}, public_url)
    step = _step(texts, enrollment, step_number)
    check_not_handed_out(session, enrollment=enrollment, step_number=step.step_number, now=now)
    words = _checked(texts, enrollment, step, subject, body)
    before = enrollment_rows.snapshot([enrollment])
    is_asked = asked_of.read(session, texts=texts, steps=[(enrollment, step)]).is_asked(enrollment, step)
    if plan.sending.approval is not Approval.NONE and step.channel is Channel.EMAIL:
        choose_mailboxes(session, enrollments=[enrollment], plans={campaign_id: plan}, now=now)
    contact = session.get_one(Contact, enrollment.contact_id)
    mails = earlier_mails.before(
        session, enrollment_id, plan.steps, enrollment.current_step, step, enrollment.recipient
    )
    rendered = texts.render(enrollment.recipient, enrollment_id, step, contact, mails, enrollment.mailbox_id, words)
    mailboxes = asked_of.read_mailboxes(session, mailbox_ids=[enrollment.mailbox_id])
    draft = NewDraft(
        campaign_id,
        enrollment_id,
        step.step_number,
        step.channel,
        DraftSource.WRITTEN,
        subject is not None,
        wording(enrollment, contact, step, rendered, mailboxes),
        decided_at=None if is_asked else now,
    )
    (id_,) = draft_rows.replace(session, drafts=[draft])
    enrollment_rows.save(session, before=before, after=[enrollment])
    return session.get_one(ActionDraft, id_)


def _check_goes_on(enrollment: Enrollment, status: CampaignStatus) -> None:
    if status in (CampaignStatus.COMPLETED, CampaignStatus.FAILED):
        raise Refused(f"This campaign is {status} for good, so nothing of it goes out. {ANEW}")
    if not enrollment.is_open:
        raise Refused(
            f"The enrollment is {enrollment.status} ({enrollment.stop_reason}), so nothing goes to this person any "
            "more."
        )


def _step(texts: Texts, enrollment: Enrollment, number: int | None) -> Step:
    steps, recipient = texts.plans[enrollment.campaign_id].steps, enrollment.recipient
    if number is not None and number <= enrollment.current_step:
        raise Refused(f"step_number: step {number} was passed. get_enrollment shows which step comes next.")
    after = next_step(steps, enrollment.current_step, recipient)
    step = after if number is None else step_for(steps, number, recipient)
    if step is None:
        template_id = texts.campaigns[enrollment.campaign_id].template_id
        raise InvalidInput(
            "step_number: the campaign has no such active step left for this person. get_template of "
            f"{template_id} shows its steps."
        )
    return step


# An engine's mail is taken back if its words have changed before it begins; what an agent holds can't be.
_HANDED_OUT = text("""
    SELECT a.status, a.lease_until, m.status FROM campaign_actions a
    LEFT JOIN messages m ON m.action_id = a.id AND m.direction = 'out'
    WHERE a.enrollment_id = :enrollment AND a.step_number = :step_number AND a.instance_id = :campaign
""")


_BEGUN = (MessageStatus.SENDING, MessageStatus.SENT, MessageStatus.UNKNOWN)


def check_not_handed_out(session: Session, *, enrollment: Enrollment, step_number: int, now: datetime) -> None:
    """Refused if a step was sent, or if somebody holds it to send it."""
    values = {"enrollment": enrollment.id, "step_number": step_number, "campaign": enrollment.campaign_id}
    status, lease_until, sending = session.execute(_HANDED_OUT, values).one_or_none() or (None, None, None)
    if status == ActionStatus.SENT or sending in _BEGUN:
        raise Refused(f"Step {step_number} was sent, so its words can't be changed any more.")
    if status == ActionStatus.CLAIMED and sending is None and lease_until is not None and lease_until > now:
        raise Refused(
            f"Step {step_number} is handed out until {lease_until:%Y-%m-%dT%H:%M:%SZ} and may be on its way, so its "
            "words can't be changed now. complete_action with skipped or failed gives it back."
        )


def _checked(texts: Texts, enrollment: Enrollment, step: Step, subject: str | None, body: str) -> Literal:
    """Returns the words. InvalidInput if the step can't say them."""
    source = texts.source(enrollment.campaign_id, step)
    if step.channel is Channel.LINKEDIN and subject is not None:
        raise InvalidInput(f"subject: step {step.step_number} is a {source.step_type} and has none. Leave it out.")
    if source.step_type == "profile_visit":
        raise InvalidInput(f"body: step {step.step_number} is a profile_visit and says nothing.")
    if subject is not None and (len(subject) > SUBJECT_MAX or is_blank(subject) or not is_one_line(subject)):
        raise InvalidInput(f"subject: give one line of 1 to {SUBJECT_MAX} characters.")
    most = longest(step.channel, source.step_type)
    if is_blank(body) or len(body) > most:
        raise InvalidInput(f"body: has {len(body):,} characters, and a {source.step_type} has 1 to {most:,}.")
    return Literal(subject, body)


_IS_TO_COME: ColumnElement[bool] = select(CampaignEnrollment.id).where(
    CampaignEnrollment.campaign_id == ActionDraft.campaign_id,
    CampaignEnrollment.id == ActionDraft.enrollment_id,
    CampaignEnrollment.status.in_(OPEN),
    CampaignEnrollment.current_step < ActionDraft.step_number,
).exists() | ActionDraft.thread_id.is_not(None)


def list_(
    session: Session, *, campaign_id: UUID | None, status: DraftStatus, limit: int, cursor: str | None
) -> Page[ActionDraft]:
    """Returns drafts, newest first: replies, and steps; of those that wait, the ones whose step can still go out."""
    statement = select(ActionDraft).where(ActionDraft.status == status)
    if campaign_id is not None:
        campaigns.get(session, campaign_id=campaign_id)
        statement = statement.where(ActionDraft.campaign_id == campaign_id)
    if status is DraftStatus.WAITING:
        statement = statement.where(_IS_TO_COME)
    return page(session, statement, by=[ActionDraft.id], limit=limit, cursor=cursor, listing="drafts")


def oldest(session: Session, *, limit: int) -> tuple[Sequence[ActionDraft], bool]:
    """Returns the drafts that have waited longest, the oldest first, of those whose step can still go out; and whether
    there are more."""
    statement = select(ActionDraft).where(ActionDraft.status == DraftStatus.WAITING, _IS_TO_COME)
    found = session.scalars(statement.order_by(ActionDraft.id).limit(limit + 1)).all()
    return found[:limit], len(found) > limit


def find(session: Session, *, draft_ids: Collection[UUID]) -> dict[UUID, ActionDraft]:
    """Returns the drafts with these ids, as far as there are any."""
    found = session.scalars(select(ActionDraft).where(ActionDraft.id.in_(draft_ids)))
    return {draft.id: draft for draft in found}


class Shown(NamedTuple):
    """A draft as a person sees it: to whom it goes, from which mailbox, and what a careful reader would notice."""

    draft: ActionDraft
    contact: Contact
    mailbox: str | None
    signature: str | None
    lint: list[str]


def show(session: Session, *, drafts: Sequence[ActionDraft]) -> list[Shown]:
    """Returns the drafts with all that an approval is of."""
    rows = session.execute(
        select(ActionDraft.id, func.coalesce(Thread.mailbox_id, CampaignEnrollment.mailbox_id), Contact)
        .join(CampaignEnrollment, CampaignEnrollment.id == ActionDraft.enrollment_id)
        .join(Contact, Contact.id == CampaignEnrollment.contact_id)
        .outerjoin(Thread, Thread.id == ActionDraft.thread_id)
        .where(ActionDraft.id.in_([draft.id for draft in drafts]))
    ).all()
    people: dict[UUID, tuple[UUID | None, Contact]] = {row[0]: (row[1], row[2]) for row in rows}
    mailboxes = asked_of.read_mailboxes(session, mailbox_ids=[mailbox_id for mailbox_id, _ in people.values()])
    said = _said_of_campaigns(session, {draft.campaign_id for draft in drafts})
    shown: list[Shown] = []
    for draft in drafts:
        mailbox_id, contact = people[draft.id]
        mailbox = mailboxes.get(mailbox_id) if mailbox_id is not None and draft.channel == Channel.EMAIL else None
        known = Known(
            contact.first_name,
            contact.last_name,
            [*_said_of(contact), *said[draft.campaign_id], *((mailbox.signature or "",) if mailbox else ())],
            is_own=draft.source == DraftSource.TEMPLATE,
        )
        found = [] if draft.body is None else lint(draft.subject, draft.body, known)
        shown.append(Shown(draft, contact, mailbox and mailbox.address, mailbox and mailbox.signature, found))
    return shown


def _said_of(contact: Contact) -> Iterator[str]:
    yield from (value for name in CONTACT_TEXTS if (value := getattr(contact, name)) is not None)
    yield from _texts_in(contact.attributes)


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for part in cast("Mapping[str, Any]", value).values():
            yield from _texts_in(part)
    elif isinstance(value, list):
        for part in cast("list[Any]", value):
            yield from _texts_in(part)
    elif value is not None:
        yield str(value)


def _said_of_campaigns(session: Session, campaign_ids: Collection[UUID]) -> dict[UUID, list[str]]:
    """Returns campaign -> its name, its variables and the texts of its template."""
    texts = Texts.of_campaigns(session, plans.of_campaigns(session, campaign_ids=campaign_ids), None)
    said: dict[UUID, list[str]] = {}
    for id_, campaign in texts.campaigns.items():
        own = [source for (template_id, _, _), source in texts.sources.items() if template_id == campaign.template_id]
        written = [part for source in own for part in (source.subject, source.body) if part]
        said[id_] = [campaign.name, *_texts_in(campaign.settings.get("variables", {})), *written]
    return said
