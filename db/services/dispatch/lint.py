"""Warns of what is likely to stop a campaign's texts: variables that nobody has, or that are not filled in yet.

These are warnings, not refusals: people and variables may still be filled in, and a missing value stops its own action
only.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.orm import Session, aliased

from db.domain.allowance import Account
from db.domain.contacts import CONTACT_TEXTS
from db.domain.errors import InvalidInput
from db.domain.mailboxes import MailboxStatus
from db.domain.placeholders import foreign_placeholders
from db.domain.sending import of_settings
from db.domain.sending_domains import SendingDomain, domain_of
from db.domain.states import CampaignStatus, Channel
from db.models import CampaignEnrollment, CampaignInstance, CampaignTemplate, Contact, Mailbox
from db.services.campaigns import step_conditions, templates
from db.services.campaigns.step_texts import UNSUBSCRIBE_URL, campaign_variables
from db.services.mail import sending_domains
from db.services.state import usage
from db.services.texts import liquid

KNOWN = (*CONTACT_TEXTS, "attributes", "campaign", UNSUBSCRIBE_URL)
PUBLIC_URL_SETTING = "SALES_AUTOMATION_PUBLIC_URL"
_NO_ADDRESS = f"This server has no public address: set {PUBLIC_URL_SETTING}, or leave the variable out."
_NO_EMAIL = "Emails alone have it: leave it out."
_WRITTEN = "A placeholder is written {{ first_name }}, or {{ attributes.NAME }} for other fields of a person."
_CAMPAIGNS_LOOKED_AT = 1_000
# Enough to tell that a list lacks a field, and few enough to count in no time.
_LOOKED_AT = 10_000


class _Text(NamedTuple):
    """A text of a step: on which channel it goes out, which text of the step it is, and what it says."""

    channel: Channel
    where: str
    text: str


class _Use(NamedTuple):
    """A variable, where a text uses it, and whether that place has a default for it."""

    path: tuple[str, ...]
    where: str
    has_default: bool

    @property
    def written(self) -> str:
        """As the text has it."""
        return f"{{{{ {'.'.join(self.path)} }}}}"


def of_template(template: CampaignTemplate, *, public_url: str | None, hears_webhooks: bool = True) -> list[str]:
    """Returns warnings about texts that can't be read, placeholders of other programs, variables that no contact and no
    campaign can have, the link to unsubscribe where there is none, and conditions that nothing meets, each with its
    place. `public_url`: see Texts.of_campaigns. hears_webhooks: whether a provider's webhook is set up."""
    uses = _uses(template)
    foreign = _foreign((where, text) for _, where, text in _texts(template))
    unheard = [] if hears_webhooks else step_conditions.of_webhooks(step_conditions.of_template(template))
    return [*_unreadable(template), *foreign, *_unknown(uses), *_without_link(template, public_url), *unheard]


def _unknown(uses: Iterable[_Use]) -> Iterator[str]:
    for use in uses:
        if use.path[0] not in KNOWN:
            so = "its default is always used" if use.has_default else "the step will never be sent"
            yield (
                f"{use.where}: {use.written} is unknown, so {so}. Known are {', '.join(CONTACT_TEXTS)}, "
                "attributes.NAME (of the contact), campaign.NAME (settings.variables) "
                f"and {UNSUBSCRIBE_URL} (in emails, where the server has a public address)."
            )


def _foreign(texts: Iterable[tuple[str, str]]) -> Iterator[str]:
    for where, text in texts:
        found = foreign_placeholders(text)
        if found:
            yield f"{where}: {', '.join(found)} would be sent as it stands. {_WRITTEN}"


def _without_link(template: CampaignTemplate, public_url: str | None) -> Iterator[str]:
    for channel, where, text in _texts(template):
        is_of_email = channel is Channel.EMAIL
        if (public_url is not None and is_of_email) or not _needs_link(text, where):
            continue
        so = f"{where}: {{{{ {UNSUBSCRIBE_URL} }}}} can't be filled in, so the step pauses everybody it falls due for."
        yield f"{so} {_NO_ADDRESS if is_of_email else _NO_EMAIL}"


def _needs_link(text: str, where: str) -> bool:
    with suppress(InvalidInput):
        return UNSUBSCRIBE_URL in text and liquid.stops_without(text, UNSUBSCRIBE_URL, where)
    return False


def of_campaign(
    session: Session, *, campaign: CampaignInstance, public_url: str | None, hears_webhooks: bool = True
) -> list[str]:
    """Returns the warnings about the template, variables that the campaign does not fill in, and what the enrolled
    people lack."""
    template = templates.get(session, template_id=campaign.template_id)
    known = campaign_variables(campaign)
    unfilled = [
        f"{use.where}: {use.written} is not filled in. Set settings.variables with update_campaign."
        for use in _uses(template)
        if use.path[0] == "campaign" and len(use.path) > 1 and use.path[1] not in known and not use.has_default
    ]
    words = [(f"settings.variables.{name}", text) for name, text in known.items() if isinstance(text, str)]
    return [
        *of_template(template, public_url=public_url, hears_webhooks=hears_webhooks),
        *_foreign(words),
        *unfilled,
        *_lacking(session, campaign.id, template),
    ]


def without_link(session: Session) -> list[str]:
    """Returns the names of running campaigns whose emails have the link to unsubscribe, for a server without a public
    address: a step of each pauses everybody it falls due for."""
    running = select(CampaignInstance).where(CampaignInstance.status == CampaignStatus.ACTIVE)
    names: list[str] = []
    for campaign in session.scalars(running.order_by(CampaignInstance.id).limit(_CAMPAIGNS_LOOKED_AT)):
        template = templates.get(session, template_id=campaign.template_id)
        names += [campaign.name] if any(_without_link(template, None)) else []
    return names


def of_accounts(session: Session, *, campaign: CampaignInstance) -> list[str]:
    """Returns warnings about accounts for which the campaign names another time zone than the one in which their days
    are counted."""
    named = {
        Account(channel, sender.account): sender for channel, sender in of_settings(campaign.settings).senders.items()
    }
    zones = {account: sender.zone for account, sender in named.items() if sender.zone is not None}
    known = usage.accounts(session) if zones else {}
    return [
        f"settings.senders.{account.channel}.timezone: the days of {account.account} are counted in {counted.zone}, "
        f"since an older campaign says so, and not in {zone}. Name one time zone in all campaigns that share it."
        for account, zone in zones.items()
        if (counted := known.get(account)) is not None and counted.zone not in (None, zone)
    ]


def of_mailboxes(session: Session, *, campaign: CampaignInstance) -> list[str]:
    """Returns warnings about the mailboxes of the campaign that send nothing now."""
    pool = of_settings(campaign.settings).mailboxes
    rows = session.scalars(select(Mailbox).where(Mailbox.address.in_(pool))) if pool else ()
    known = {row.address: row for row in rows}
    domains = sending_domains.known(session, domains={domain_of(address) for address in pool})
    told = [_of_mailbox(address, known.get(address), domains[domain_of(address)]) for address in pool]
    return list(filter(None, told))


def _of_mailbox(address: str, row: Mailbox | None, domain: SendingDomain) -> str | None:
    if row is None:
        return f"{address} is not a mailbox any more: connect_mailbox adds it, or name others with update_campaign."
    if row.status == MailboxStatus.ACTIVE and domain.is_held:
        return f"{address} sends nothing while its domain has no SPF, DMARC or signed mail. check_mailbox says more."
    if row.status == MailboxStatus.ACTIVE:
        return None
    then = row.problem or "update_mailbox with status active resumes it."
    return f"{address} is {row.status}, so its people wait. {then}"


def _uses(template: CampaignTemplate) -> list[_Use]:
    """Returns each variable once for each place; where it has a default here and none there, it has none."""
    found: dict[tuple[tuple[str, ...], str], bool] = {}
    for _, where, text in _texts(template):
        with suppress(InvalidInput):
            for path, has_default in liquid.uses(text, where):
                found[path, where] = has_default and found.get((path, where), True)
    return sorted(_Use(path, where, has_default) for (path, where), has_default in found.items())


def _unreadable(template: CampaignTemplate) -> Iterator[str]:
    """Yields warnings about texts of an earlier version, which this one reads more strictly."""
    for _, where, text in _texts(template):
        try:
            liquid.needs(text, where)
        except InvalidInput as error:
            yield f"{error} The step will never be sent. Correct it with update_template."


def _texts(template: CampaignTemplate) -> Iterator[_Text]:
    """Yields the texts of the steps in use."""
    for email in template.email_steps:
        if email.is_active:
            variant = f" ({email.a_b_variant})" if email.a_b_variant else ""
            if email.subject is not None:
                yield _Text(Channel.EMAIL, f"subject of step {email.step_number}{variant}", email.subject)
            yield _Text(Channel.EMAIL, f"body of step {email.step_number}{variant}", email.body)
    for message in template.linkedin_steps:
        if message.is_active and message.message:
            yield _Text(Channel.LINKEDIN, f"message of step {message.step_number}", message.message)


def _lacking(session: Session, campaign_id: UUID, template: CampaignTemplate) -> list[str]:
    """Returns warnings with how many of the first people of the campaign lack a field that a text has no default
    for."""
    uses = [use for use in _uses(template) if not use.has_default]
    paths = sorted({use.path for use in uses if use.path[0] in CONTACT_TEXTS or use.path[0] == "attributes"})
    wanted = [path for path in paths if path != ("attributes",)]
    if not wanted:
        return []
    people = (
        select(CampaignEnrollment.contact_id)
        .where(CampaignEnrollment.campaign_id == campaign_id)
        .limit(_LOOKED_AT)
        .subquery()
    )
    # Each is looked up; joined, all people of all campaigns would be read for them.
    person = aliased(Contact, select(Contact).where(Contact.id == people.c.contact_id).limit(1).lateral())
    counts = [func.count().filter(_is_missing(person, path)) for path in wanted]
    looked_at, *missing = session.execute(select(func.count(), *counts).select_from(people).join(person, true())).one()
    return list(_told(zip(wanted, missing, strict=True), looked_at))


def _is_missing(person: type[Contact], path: tuple[str, ...]) -> ColumnElement[bool]:
    if path[0] != "attributes":
        column = getattr(person, path[0])
    elif len(path) == 2:
        column = person.attributes[path[1]].astext
    else:  # what stands deeper may be a list, or made by the language of texts, as `size`
        return ~person.attributes.has_key(path[1])
    return or_(column.is_(None), func.btrim(column) == "")


def _told(counts: Iterable[tuple[tuple[str, ...], int]], looked_at: int) -> Iterator[str]:
    for path, missing in counts:
        if missing:
            yield (
                f"{'.'.join(path)} is missing for {missing} of {looked_at} people, whose step will pause. Fill it in "
                "with upsert_contacts, or give the text a default."
            )
