"""What campaigns ask of the steps of some people, and the words that were drafted for them."""

from collections.abc import Iterable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.drafts import UNASKED, Approval, Consent, Literal, Wording
from db.domain.enrollment import Enrollment
from db.domain.scheduling import Step
from db.domain.states import Channel
from db.models import Contact
from db.postgres.json import rows_parameter
from db.services.campaigns.step_texts import Text, Texts
from db.services.state import draft_rows
from db.services.state.draft_rows import Draft


class Mailbox(NamedTuple):
    """What of a mailbox the person who gets a mail sees."""

    address: str
    signature: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What was read of some steps: (enrollment, step number) -> their drafts; mailboxes; and the enrollments to
    which something was said before, where that matters."""

    texts: Texts
    drafts: Mapping[tuple[UUID, int], Draft]
    mailboxes: Mapping[UUID, Mailbox]
    addressed: AbstractSet[UUID]

    def draft(self, enrollment: Enrollment, step: Step) -> Draft | None:
        """Returns the draft of a step, unless the step goes out on another channel now."""
        found = self.drafts.get((enrollment.id, step.step_number))
        return found if found is not None and found.channel is step.channel else None

    def literal(self, enrollment: Enrollment, step: Step) -> Literal | None:
        """Returns the words that were written for the person; None if it gets the step's own text."""
        draft = self.draft(enrollment, step)
        return draft and draft.literal

    def is_asked(self, enrollment: Enrollment, step: Step) -> bool:
        """Returns whether the step needs an approval, if it says anything."""
        approval = self.texts.plans[enrollment.campaign_id].sending.approval
        if approval is not Approval.FIRST_STEP:
            return approval is Approval.ALL
        steps = self.texts.plans[enrollment.campaign_id].steps
        comes_first = all(
            not enrollment.current_step < other.step_number < step.step_number
            or not self._says(enrollment, other.step_number)
            for other in steps
        )
        return comes_first and enrollment.id not in self.addressed

    def _says(self, enrollment: Enrollment, number: int) -> bool:
        """Returns whether a step that comes before has words. One that is gone had some, as far as is known."""
        template_id = self.texts.campaigns[enrollment.campaign_id].template_id
        of_number = [source for (of, n, _), source in self.texts.sources.items() if (of, n) == (template_id, number)]
        return not of_number or any(source.body for source in of_number)

    def consent(self, enrollment: Enrollment, contact: Contact, step: Step, rendered: Text) -> Consent:
        """Returns what is asked of a step in these words, and what was given."""
        if rendered.body is None or not self.is_asked(enrollment, step):
            return UNASKED
        plan = self.texts.plans[enrollment.campaign_id]
        draft = self.draft(enrollment, step)
        lacks_mailbox = step.channel is Channel.EMAIL and plan.sending.mailboxes and enrollment.mailbox_id is None
        now = None if lacks_mailbox else wording(enrollment, contact, step, rendered, self.mailboxes).fingerprint
        return Consent(plan.sending.approval, now, draft and draft.approved)


def wording(
    enrollment: Enrollment, contact: Contact, step: Step, rendered: Text, mailboxes: Mapping[UUID, Mailbox]
) -> Wording:
    """Returns what an approval of a step is of."""
    assert rendered.body is not None, "a step without words needs no approval"
    if step.channel is Channel.LINKEDIN:
        return Wording(contact.linkedin_url, rendered.step_type, None, rendered.body)
    mailbox = mailboxes.get(enrollment.mailbox_id) if enrollment.mailbox_id is not None else None
    return Wording(
        contact.email,
        rendered.step_type,
        rendered.subject,
        rendered.body,
        mailbox.signature if mailbox else None,
        mailbox.address if mailbox else None,
        rendered.unsubscribe_url,
    )


_MAILBOXES = text("""
    SELECT id, address, signature FROM mailboxes
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""")


def read_mailboxes(session: Session, *, mailbox_ids: Iterable[UUID | None]) -> dict[UUID, Mailbox]:
    """Returns mailbox -> its address and signature."""
    wanted = sorted({id_ for id_ in mailbox_ids if id_ is not None})
    rows = session.execute(_MAILBOXES, rows_parameter(wanted)) if wanted else ()
    return {id_: Mailbox(address, signature) for id_, address, signature in rows}


def read(session: Session, *, texts: Texts, steps: Sequence[tuple[Enrollment, Step]]) -> Asked:
    """Returns what is asked of steps of some enrollments, whose campaigns `texts` holds."""
    drafts = draft_rows.of_steps(session, steps=[(enrollment.id, step.step_number) for enrollment, step in steps])
    asking = [
        enrollment
        for enrollment, _ in steps
        if texts.plans[enrollment.campaign_id].sending.approval is not Approval.NONE
    ]
    firsts = [
        (enrollment.campaign_id, enrollment.id, enrollment.current_step + 1)
        for enrollment in asking
        if texts.plans[enrollment.campaign_id].sending.approval is Approval.FIRST_STEP
    ]
    mailboxes = read_mailboxes(session, mailbox_ids=[enrollment.mailbox_id for enrollment in asking])
    return Asked(texts, drafts, mailboxes, draft_rows.addressed(session, steps=firsts))
