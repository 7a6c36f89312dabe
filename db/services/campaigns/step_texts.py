"""The texts of campaigns' steps, rendered for one person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import CONTACT_TEXTS
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.field_limits import BODY_MAX, CONNECTION_MESSAGE_MAX, LINKEDIN_MESSAGE_MAX, SUBJECT_MAX
from db.domain.scheduling import Plan, Step, next_step
from db.domain.states import Channel, LinkedInStepType
from db.domain.texts import is_blank, is_storable, one_line
from db.models import CampaignInstance, Contact
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.campaigns import plans as plans_of
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

    @property
    def headers(self) -> dict[str, str] | None:
        """Returns the header fields of an email by which its person can unsubscribe, if it has the link."""
        return None if self.unsubscribe_url is None else unsubscribe_links.headers(self.unsubscribe_url)


class Campaign(NamedTuple):
    """What texts may say of a campaign, and whose texts they are."""

    template_id: UUID
    name: str
    settings: Mapping[str, Any]


class _Source(NamedTuple):
    """A step's text as it was written: the type as in Text."""

    step_type: str
    subject: str | None
    body: str | None


# Each campaign once and each step once, because many campaigns may share the texts of a template.
_OF_CAMPAIGNS = text("""
    WITH wanted AS MATERIALIZED (
        SELECT id, template_id, name, settings FROM campaign_instances
        WHERE id IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
    )
    SELECT id, template_id, name, settings, NULL, NULL, NULL, NULL, NULL FROM wanted
    UNION ALL
    SELECT NULL, template_id, NULL, NULL, step_number, a_b_variant, :email, subject, body FROM email_sequences
    WHERE template_id IN (SELECT template_id FROM wanted)
    UNION ALL
    SELECT NULL, template_id, NULL, NULL, step_number, NULL, type, NULL, message FROM linkedin_sequences
    WHERE template_id IN (SELECT template_id FROM wanted)
""").columns(*named("id", "template", "name", "settings", "step", "variant", "type", "subject", "body"))


@dataclass(frozen=True, slots=True)
class Texts:
    """The steps of some campaigns with their texts."""

    plans: Mapping[UUID, Plan]
    links: Links | None
    campaigns: dict[UUID, Campaign] = field(default_factory=dict[UUID, Campaign])
    sources: dict[tuple[UUID, int, str | None], _Source] = field(
        default_factory=dict[tuple[UUID, int, str | None], _Source]
    )

    @classmethod
    def of_campaigns(cls, session: Session, plans: Mapping[UUID, Plan], public_url: str | None) -> Self:
        """Returns the texts of the campaigns of `plans`. `public_url`: the address at which people reach this server,
        for the links by which they unsubscribe."""
        texts = cls(plans, unsubscribe_links.links(session, base=public_url))
        values = {**rows_parameter(list(plans)), "email": STEP_TYPE_OF_EMAIL}
        for id_, template_id, name, settings, step_number, variant, *source in session.execute(_OF_CAMPAIGNS, values):
            if id_ is not None:
                texts.campaigns[id_] = Campaign(template_id, name, settings)
            else:
                texts.sources[template_id, step_number, variant] = _Source(*source)
        return texts

    def next_step(self, enrollment: Enrollment) -> Step | None:
        """Returns the step that comes next for this enrollment, or None."""
        steps = self.plans[enrollment.instance_id].steps
        return next_step(steps, enrollment.current_step, enrollment.recipient)

    def render(self, instance_id: UUID, enrollment_id: UUID | None, step: Step, contact: Contact) -> Text:
        """Renders the step for one person. MissingVariable or InvalidInput say why it can't be sent as it is.

        Without an enrollment, as for a preview, the link to unsubscribe leads nowhere.
        """
        campaign = self.campaigns[instance_id]
        known = variables(contact, campaign)
        where = f"step {step.step_number}"
        source = self.sources[campaign.template_id, step.step_number, step.a_b_variant]
        if step.channel is Channel.LINKEDIN:
            is_request = source.step_type == LinkedInStepType.CONNECTION_REQUEST
            most = CONNECTION_MESSAGE_MAX if is_request else LINKEDIN_MESSAGE_MAX
            message = source.body and _fill(source.body, known, f"message of {where}", most)
            return Text(source.step_type, None, message)
        url = self.links.url(enrollment_id or UUID(int=0), step.step_number) if self.links else None
        if url is not None:
            known[UNSUBSCRIBE_URL] = url
        assert source.subject is not None, "an email has both"
        assert source.body is not None
        # A line break in a name must not begin another header.
        subject = one_line(_fill(source.subject, known, f"subject of {where}", SUBJECT_MAX))
        return Text(source.step_type, subject, _fill(source.body, known, f"body of {where}", BODY_MAX), url)


def problem(session: Session, *, instance_id: UUID) -> str | None:
    """Returns what is wrong with a text of the campaign for any person; None if nothing is."""
    plan = plans_of.of_campaign(session, instance_id=instance_id)
    texts = Texts.of_campaigns(session, {instance_id: plan}, None)
    template_id = texts.campaigns[instance_id].template_id
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
