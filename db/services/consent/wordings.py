"""The words of drafts as they would go out now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.domain.drafts import Wording
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.scheduling import step_for
from db.models import Contact
from db.services.campaigns import earlier_mails, plans
from db.services.campaigns.step_texts import Texts
from db.services.consent import asked as asked_of
from db.services.consent.asked import Mailbox, wording
from db.services.consent.drafting import Undecided
from db.services.state import message_rows
from db.services.texts import unsubscribe_links

DraftedStep = tuple[UUID, int]
"""An enrollment, and the number of a step."""


@dataclass(frozen=True, slots=True)
class Wordings:
    """(enrollment, step number) -> the step in its words of now, or why it can't go out."""

    steps: dict[DraftedStep, Undecided] = field(default_factory=dict[DraftedStep, Undecided])
    problems: dict[DraftedStep, str] = field(default_factory=dict[DraftedStep, str])
    mailboxes: Mapping[UUID, Mailbox] = field(default_factory=dict[UUID, Mailbox])

    def of(self, key: DraftedStep) -> Wording | None:
        """Returns what an approval of the step would be of; None where it says nothing."""
        found = self.steps[key]
        if found.text.body is None:
            return None
        return wording(found.enrollment, found.contact, found.step, found.text, self.mailboxes)


def read(session: Session, *, wanted: Sequence[tuple[Enrollment, int]], public_url: str | None) -> Wordings:
    """Returns the words of steps that are still to come, each of one enrollment. `public_url`: see
    Texts.of_campaigns."""
    if public_url is not None and wanted:
        unsubscribe_links.make_key(session)
    campaigns = {enrollment.campaign_id for enrollment, _ in wanted}
    texts = Texts.of_campaigns(session, plans.of_campaigns(session, campaign_ids=campaigns), public_url)
    chosen = [
        (enrollment, number, step_for(texts.plans[enrollment.campaign_id].steps, number, enrollment.recipient))
        for enrollment, number in wanted
    ]
    there = [(enrollment, step) for enrollment, _, step in chosen if step is not None]
    asked = asked_of.read(session, texts=texts, steps=there)
    people = contacts_of(session, [enrollment for enrollment, _ in there])
    keys = {(enrollment.campaign_id, enrollment.id, enrollment.current_step + 1) for enrollment, _ in there}
    sent = message_rows.sent_before(session, steps=sorted(keys))
    found = Wordings(mailboxes=asked_of.read_mailboxes(session, mailbox_ids=[one.mailbox_id for one, _ in there]))
    for enrollment, number, step in chosen:
        if step is None:
            found.problems[enrollment.id, number] = f"The campaign has no active step {number} any more."
            continue
        contact, words = people[enrollment.contact_id], asked.literal(enrollment, step)
        sequence = texts.plans[enrollment.campaign_id].steps
        mails = [
            *sent.get(enrollment.id, ()),
            *earlier_mails.coming(sequence, enrollment.current_step, step, enrollment.recipient),
        ]
        try:
            rendered = texts.render(
                enrollment.recipient, enrollment.id, step, contact, mails, enrollment.mailbox_id, words
            )
        except InvalidInput as error:
            found.problems[enrollment.id, number] = str(error)
            continue
        draft = asked.draft(enrollment, step)
        found.steps[enrollment.id, number] = Undecided(enrollment, contact, step, rendered, draft, words is not None)
    return found


def contacts_of(session: Session, enrollments: Sequence[Enrollment]) -> dict[UUID, Contact]:
    """Returns contact -> its row, for the people of these enrollments."""
    wanted = {enrollment.contact_id for enrollment in enrollments}
    found = session.scalars(select(Contact).where(Contact.id.in_(wanted)).execution_options(populate_existing=True))
    return {contact.id: contact for contact in found}
