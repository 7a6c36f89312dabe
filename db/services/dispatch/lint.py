"""Warns of what is likely to stop a campaign's texts: variables that nobody has, or that are not filled in yet.

These are warnings, not refusals: people and variables may still be filled in, and a missing value stops its own action
only.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from db.domain.allowance import Account
from db.domain.contacts import CONTACT_TEXTS
from db.domain.errors import InvalidInput
from db.domain.sending import of_settings
from db.models import CampaignEnrollment, CampaignInstance, CampaignTemplate, Contact
from db.services.campaigns import templates
from db.services.campaigns.step_texts import UNSUBSCRIBE_URL, campaign_variables
from db.services.state import usage
from db.services.texts import liquid

KNOWN = (*CONTACT_TEXTS, "attributes", "campaign", UNSUBSCRIBE_URL)
# Enough to tell that a list lacks a field, and few enough to count in no time.
_LOOKED_AT = 10_000


class _Use(NamedTuple):
    """A variable without a default, and where a text uses it."""

    path: tuple[str, ...]
    where: str


def of_template(template: CampaignTemplate) -> list[str]:
    """Returns warnings about texts that can't be read, and variables that no contact and no campaign can have, each
    with its place."""
    unknown = [
        f"{use.where}: {{{{ {'.'.join(use.path)} }}}} is unknown, so the step will never be sent. Known are "
        f"{', '.join(CONTACT_TEXTS)}, attributes.NAME (of the contact), campaign.NAME (settings.variables) "
        f"and {UNSUBSCRIBE_URL} (in emails, where the server has a public address)."
        for use in _uses(template)
        if use.path[0] not in KNOWN
    ]
    return [*_unreadable(template), *unknown]


def of_campaign(session: Session, *, campaign: CampaignInstance) -> list[str]:
    """Returns the warnings about the template, variables that the campaign does not fill in, and what the enrolled
    people lack."""
    template = templates.get(session, template_id=campaign.template_id)
    known = campaign_variables(campaign)
    unfilled = [
        f"{use.where}: {{{{ {'.'.join(use.path)} }}}} is not filled in. Set settings.variables with update_campaign."
        for use in _uses(template)
        if use.path[0] == "campaign" and len(use.path) > 1 and use.path[1] not in known
    ]
    return [*of_template(template), *unfilled, *_lacking(session, campaign.id, template)]


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


def _uses(template: CampaignTemplate) -> list[_Use]:
    return sorted({_Use(path, where) for where, text in _texts(template) for path in _needs(text, where)})


def _needs(text: str, where: str) -> set[tuple[str, ...]]:
    with suppress(InvalidInput):
        return liquid.needs(text, where)
    return set()


def _unreadable(template: CampaignTemplate) -> Iterator[str]:
    """Yields warnings about texts of an earlier version, which this one reads more strictly."""
    for where, text in _texts(template):
        try:
            liquid.needs(text, where)
        except InvalidInput as error:
            yield f"{error} The step will never be sent. Correct it with update_template."


def _texts(template: CampaignTemplate) -> Iterator[tuple[str, str]]:
    """Yields (place, text) of the steps in use."""
    for email in template.email_steps:
        if email.is_active:
            variant = f" ({email.a_b_variant})" if email.a_b_variant else ""
            yield f"subject of step {email.step_number}{variant}", email.subject
            yield f"body of step {email.step_number}{variant}", email.body
    for message in template.linkedin_steps:
        if message.is_active and message.message:
            yield f"message of step {message.step_number}", message.message


def _lacking(session: Session, campaign_id: UUID, template: CampaignTemplate) -> list[str]:
    """Returns warnings with how many of the first people of the campaign lack a field that a text has no default
    for."""
    paths = sorted({use.path for use in _uses(template) if use.path[0] in CONTACT_TEXTS or use.path[0] == "attributes"})
    wanted = [path for path in paths if path != ("attributes",)]
    if not wanted:
        return []
    people = (
        select(CampaignEnrollment.contact_id)
        .where(CampaignEnrollment.instance_id == campaign_id)
        .limit(_LOOKED_AT)
        .subquery()
    )
    counts = [func.count().filter(_is_missing(path)) for path in wanted]
    looked_at, *missing = session.execute(
        select(func.count(), *counts).select_from(people).join(Contact, Contact.id == people.c.contact_id)
    ).one()
    return list(_told(zip(wanted, missing, strict=True), looked_at))


def _is_missing(path: tuple[str, ...]) -> ColumnElement[bool]:
    if path[0] != "attributes":
        column = getattr(Contact, path[0])
    elif len(path) == 2:
        column = Contact.attributes[path[1]].astext
    else:  # what stands deeper may be a list, or made by the language of texts, as `size`
        return ~Contact.attributes.has_key(path[1])
    return or_(column.is_(None), func.btrim(column) == "")


def _told(counts: Iterable[tuple[tuple[str, ...], int]], looked_at: int) -> Iterator[str]:
    for path, missing in counts:
        if missing:
            yield (
                f"{'.'.join(path)} is missing for {missing} of {looked_at} people, whose step will pause. Fill it in "
                "with upsert_contacts, or give the text a default."
            )
