"""The texts of campaigns' steps, rendered for one person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self, cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import threads
from db.domain.contacts import CONTACT_TEXTS
from db.domain.drafts import Literal
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.field_limits import BODY_MAX, CONNECTION_MESSAGE_MAX, LINKEDIN_MESSAGE_MAX, SUBJECT_MAX
from db.domain.scheduling import Plan, Recipient, Step, next_step, step_for
from db.domain.states import Channel, LinkedInStepType
from db.domain.texts import is_blank, is_storable, one_line
from db.domain.threads import SentMail, answering, open_thread
from db.models import CampaignInstance, Contact
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.campaigns import plans as plans_of
from db.services.state.message_rows import SentStep
from db.services.texts import liquid, unsubscribe_links
from db.services.texts.liquid import BrokenText, MissingVariable
from db.services.texts.unsubscribe_links import Links

STEP_TYPE_OF_EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Text:
    """What is sent: `step_type` is email, or the type of the LinkedIn step; a step may have no text at all."""

    step_type: str
    subject: str | None
    body: str | None
    unsubscribe_url: str | None = None
    """Of an email, if this server has a public address."""
    new_thread: bool = False
    """It is an email that answers none before it."""
    references: tuple[str, ...] = ()
    """The ids of the mails of the thread that an email answers, the oldest first."""
    message_domain: str | None = None
    """What the Message-ID of an email ends in, once it is made."""
    internet_message_id: str | None = None
    """Of an email that is handed out."""

    @property
    def headers(self) -> dict[str, str] | None:
        """Returns the header fields of an email: those that place it in its thread, and those by which its person can
        unsubscribe; None if there are none."""
        fields = threads.headers(self.internet_message_id, self.references)
        if self.unsubscribe_url is not None:
            fields |= unsubscribe_links.headers(self.unsubscribe_url)
        return fields or None


class Campaign(NamedTuple):
    """What texts may say of a campaign, and whose texts they are."""

    template_id: UUID
    name: str
    settings: Mapping[str, Any]


class Source(NamedTuple):
    """A step's text as it was written: the type as in Text. An email without subject answers its thread."""

    step_type: str
    subject: str | None
    body: str | None
    new_thread: bool


# Each campaign once and each step once, because many campaigns may share the texts of a template.
_OF_CAMPAIGNS = text("""
    WITH wanted AS MATERIALIZED (
        SELECT id, template_id, name, settings FROM campaign_instances
        WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
    )
    SELECT id, template_id, name, settings, NULL, NULL, NULL, NULL, NULL, NULL FROM wanted
    UNION ALL
    SELECT NULL, template_id, NULL, NULL, step_number, a_b_variant, :email, subject, body, new_thread
    FROM email_sequences
    WHERE template_id IN (SELECT template_id FROM wanted)
    UNION ALL
    SELECT NULL, template_id, NULL, NULL, step_number, NULL, type, NULL, message, FALSE FROM linkedin_sequences
    WHERE template_id IN (SELECT template_id FROM wanted)
""").columns(*named("id", "template", "name", "settings", "step", "variant", "type", "subject", "body", "new_thread"))


@dataclass(frozen=True, slots=True)
class Texts:
    """The steps of some campaigns with their texts."""

    plans: Mapping[UUID, Plan]
    links: Links | None
    campaigns: dict[UUID, Campaign] = field(default_factory=dict[UUID, Campaign])
    sources: dict[tuple[UUID, int, str | None], Source] = field(
        default_factory=dict[tuple[UUID, int, str | None], Source]
    )
    message_domains: dict[UUID, str | None] = field(default_factory=dict[UUID, str | None])

    @classmethod
    def of_campaigns(cls, session: Session, plans: Mapping[UUID, Plan], public_url: str | None) -> Self:
        """Returns the texts of the campaigns of `plans`. `public_url`: the address at which people reach this server,
        for the links by which they unsubscribe."""
        texts = cls(plans, unsubscribe_links.links(session, base=public_url))
        values = {**rows_parameter(list(plans)), "email": STEP_TYPE_OF_EMAIL}
        for id_, template_id, name, settings, step_number, variant, *source in session.execute(_OF_CAMPAIGNS, values):
            if id_ is not None:
                sender = plans[id_].sending.senders.get(Channel.EMAIL)
                texts.message_domains[id_] = threads.message_domain(sender and sender.account, public_url)
                texts.campaigns[id_] = Campaign(template_id, name, settings)
            else:
                texts.sources[template_id, step_number, variant] = Source(*source)
        return texts

    def next_step(self, enrollment: Enrollment) -> Step | None:
        """Returns the step that comes next for this enrollment, or None."""
        steps = self.plans[enrollment.campaign_id].steps
        return next_step(steps, enrollment.current_step, enrollment.recipient)

    def source(self, campaign_id: UUID, step: Step) -> Source:
        """Returns the text of a step as it was written."""
        return self.sources[self.campaigns[campaign_id].template_id, step.step_number, step.a_b_variant]

    def _thread(self, recipient: Recipient, step: Step, sent: Sequence[SentStep]) -> tuple[Step, Sequence[SentMail]]:
        """Returns the step that begins the thread of an email (the latest that says so, or the first email), and the
        mails of the thread that were sent. Where it is not known how one was handed out, its step says whether it began
        a thread."""
        template_id = self.campaigns[recipient.campaign_id].template_id

        def begins(number: int, variant: str | None) -> bool:
            source = self.sources.get((template_id, number, variant))
            return source is not None and source.new_thread

        opening = step
        if not begins(step.step_number, step.a_b_variant):
            earlier = self._emails_before(recipient, step)
            opening = next((other for other in earlier if begins(other.step_number, other.a_b_variant)), None) or (
                earlier[-1] if earlier else step
            )
        is_new = begins(opening.step_number, opening.a_b_variant)
        first = opening.step_number if is_new else 0
        mails = [
            it.mail if it.is_kept else replace(it.mail, new_thread=begins(it.step_number, it.a_b_variant))
            for it in sent
            if first <= it.step_number < step.step_number
        ]
        return opening, open_thread(mails)

    def _emails_before(self, recipient: Recipient, step: Step) -> list[Step]:
        """Returns the emails that the person gets before this step, the latest first."""
        steps = self.plans[recipient.campaign_id].steps
        numbers = {other.step_number for other in steps if other.channel is Channel.EMAIL}
        found = (step_for(steps, number, recipient) for number in sorted(numbers, reverse=True))
        return [other for other in found if other is not None and other.step_number < step.step_number]

    def render(
        self,
        recipient: Recipient,
        enrollment_id: UUID | None,
        step: Step,
        contact: Contact,
        sent: Sequence[SentStep] = (),
        mailbox_id: UUID | None = None,
        words: Literal | None = None,
    ) -> Text:
        """Renders the step for one person. MissingVariable or InvalidInput say why it can't be sent as it is.

        Without an enrollment, as for a preview, the link to unsubscribe leads nowhere. `sent`: the mails before it.
        `mailbox_id`: the mailbox that it comes from; what another one sent belongs to another thread. `words`: what it
        says instead of the step's own text.
        """
        campaign_id = recipient.campaign_id
        campaign = self.campaigns[campaign_id]
        known = variables(contact, campaign)
        where = f"step {step.step_number}"
        source = self.source(campaign_id, step)
        if step.channel is Channel.LINKEDIN:
            if words is not None:
                return Text(source.step_type, None, words.body)
            message = source.body and _fill(
                source.body, known, f"message of {where}", longest(step.channel, source.step_type)
            )
            return Text(source.step_type, None, message)
        url = self.links.url(enrollment_id or UUID(int=0), step.step_number) if self.links else None
        if url is not None:
            known[UNSUBSCRIBE_URL] = url
        assert source.body is not None, "an email has one"
        own = _of_mailbox(sent, mailbox_id)
        opening, thread = self._thread(recipient, step, own)
        subject = words and words.subject
        if subject is None:
            subject = self._subject(campaign.template_id, step, opening, known, thread)
        body = _fill(source.body, known, f"body of {where}", BODY_MAX) if words is None else words.body
        return Text(
            source.step_type,
            subject,
            body,
            url,
            new_thread=source.new_thread or len(own) < len(sent),
            references=threads.references(thread),
            message_domain=self.message_domains[campaign_id],
        )

    def _subject(
        self, template_id: UUID, step: Step, opening: Step, known: Mapping[str, Any], thread: Sequence[SentMail]
    ) -> str:
        """Returns the subject of an email: its own, or for one that has none that of the thread's first mail, with Re:
        if any mail of it was sent."""
        written = self.sources[template_id, step.step_number, step.a_b_variant].subject
        if written is not None:
            return _filled_subject(written, known, step)
        subject = thread[0].subject if thread else None
        if subject is None:
            written = self.sources[template_id, opening.step_number, opening.a_b_variant].subject
            assert written is not None, "the first email has a subject, and so has one that begins a thread"
            subject = _filled_subject(written, known, opening)
        return answering(subject) if thread else subject


def longest(channel: Channel, step_type: str) -> int:
    """Returns how many characters the words of a step may have."""
    if channel is Channel.EMAIL:
        return BODY_MAX
    return CONNECTION_MESSAGE_MAX if step_type == LinkedInStepType.CONNECTION_REQUEST else LINKEDIN_MESSAGE_MAX


def _of_mailbox(sent: Sequence[SentStep], mailbox_id: UUID | None) -> Sequence[SentStep]:
    """Returns the mails after the last one that another mailbox sent."""
    if mailbox_id is None:
        return sent
    others = [n for n, mail in enumerate(sent, start=1) if mail.mailbox_id not in (None, mailbox_id)]
    return sent[max(others, default=0) :]


def _filled_subject(written: str, known: Mapping[str, Any], step: Step) -> str:
    # A line break in a name must not begin another header.
    return one_line(_fill(written, known, f"subject of step {step.step_number}", SUBJECT_MAX))


def problem(session: Session, *, campaign_id: UUID) -> str | None:
    """Returns what is wrong with a text of the campaign for any person; None if nothing is."""
    plan = plans_of.of_campaign(session, campaign_id=campaign_id)
    texts = Texts.of_campaigns(session, {campaign_id: plan}, None)
    template_id = texts.campaigns[campaign_id].template_id
    for step in plan.steps:
        source = texts.sources[template_id, step.step_number, step.a_b_variant]
        for name, words in (("subject", source.subject), ("body", source.body)):
            try:
                liquid.parse(words or "", f"{name} of step {step.step_number}")
            except BrokenText as error:
                return f"invalid_text: {error} {_THEN_RESUMED}"
    return None


# Every hold that a change of the text or of the person lifts ends like this.
_THEN = "and update_enrollment then resumes; or advance passes the step."


_THEN_RESUMED = "update_template corrects it, and start_campaign then resumes the campaign."


def _fill(source: str, known: Mapping[str, Any], where: str, most: int) -> str:
    """Renders the text. It must not be empty, nor longer than its field allows."""
    try:
        filled_in = liquid.render(source, known, where)
    except MissingVariable as error:
        raise MissingVariable(where, error.what, f"{_giving(error.what)}, {_THEN}") from None
    except BrokenText as error:
        raise BrokenText(f"invalid_text: {error} {_THEN_RESUMED}") from None
    except InvalidInput as error:
        raise InvalidInput(
            f"invalid_text: {error} update_template corrects it, or upsert_contacts the person's values, {_THEN}"
        ) from None
    if not is_storable(filled_in):
        raise InvalidInput(
            f"invalid_text: {where} holds NUL or half of a surrogate pair when filled in, which can't be stored. "
            f"update_template takes out the filter that makes it, or upsert_contacts corrects the person's values, "
            f"{_THEN}"
        )
    if is_blank(filled_in):
        raise InvalidInput(
            f"invalid_text: {where} is empty when filled in. update_template gives it words, or upsert_contacts the "
            f"person the values it asks for, {_THEN}"
        )
    if len(filled_in) > most:
        raise InvalidInput(
            f"invalid_text: {where} has {len(filled_in):,} characters when filled in, and may have {most:,}. "
            f"update_template shortens it, or upsert_contacts the person's values, {_THEN}"
        )
    return filled_in


def _giving(what: str) -> str:
    """Returns the calls that give what is missing."""
    name = what.removesuffix(" is undefined")
    if name.startswith(("campaign.", "campaign[")):
        return "update_campaign gives it in settings.variables, or update_template the text a default"
    if name == f"'{UNSUBSCRIBE_URL}'":
        return "update_template leaves it out (emails have it, where the server has a public address)"
    if name.startswith("'") and name.strip("'") not in CONTACT_TEXTS:
        return "update_template corrects the text"
    return "upsert_contacts gives the person a value, or update_template the text a default"


# In emails alone, and only if the server has a public address.
UNSUBSCRIBE_URL = "unsubscribe_url"


def variables(contact: Contact, campaign: Campaign) -> dict[str, Any]:
    """Returns what a text may use: the person's fields, `attributes`, and `campaign` with the campaign's name and
    variables. Empty values count as missing."""
    personal = {name: getattr(contact, name) for name in CONTACT_TEXTS}
    return {**filled(personal), "attributes": filled(contact.attributes), "campaign": campaign_variables(campaign)}


def campaign_variables(campaign: Campaign | CampaignInstance) -> dict[str, Any]:
    """Returns what `campaign` holds in a text: `name`, and the variables of the campaign's settings."""
    return {**filled(campaign.settings.get("variables", {})), "name": campaign.name}


def filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that would leave no hole in a text, at any depth. 0 and false are values."""
    return {name: _filled(value) for name, value in values.items() if not _is_hole(value)}


def _filled(value: object) -> object:
    if isinstance(value, dict):
        return filled(cast("dict[str, Any]", value))
    if isinstance(value, list):
        return [_filled(item) for item in cast("list[object]", value) if not _is_hole(item)]
    return value


def _is_hole(value: object) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value))
