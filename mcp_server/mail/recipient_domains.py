"""Asks whether the domains of people who are enrolled take mail at all: one that does not says so by an empty MX record
(null MX, RFC 7505). What can't be found out in time says nothing of a domain.
"""

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from db.domain.addresses import domain_in_ascii
from db.domain.errors import NotFound
from db.domain.freemail import FREEMAIL
from db.domain.mail import authentication
from db.domain.mail.authentication import Finding
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

SECONDS_MOST: Final = 2.0
"""As long a call waits for answers, whatever the resolver does."""
_DOMAINS_MOST: Final = 200
_AT_ONCE: Final = 16
_REST_SECONDS: Final = 60.0
_NAMED_MOST: Final = 5


def without_mail(app: App, *, campaign_id: UUID, emails: Collection[str]) -> frozenset[str]:
    """Returns the domains of these addresses that take no mail; the first 200 are asked for.

    Asks only for a campaign that this server sends from mailboxes, or where SALES_AUTOMATION_DNS_SERVER is given; where
    time is simulated, in the second case alone, since the real DNS knows nothing of invented domains. A resolver that
    answered nothing is left alone for a minute.
    """
    domains = sorted({domain_of(email) for email in emails} - FREEMAIL)[:_DOMAINS_MOST]
    if not domains or time.monotonic() < app.resolver_rests_until or not is_to_ask(app, campaign_id):
        return frozenset()
    found = _ask_all(app, domains)
    if all(takes_none is None for takes_none in found.values()):
        app.resolver_rests_until = time.monotonic() + _REST_SECONDS
    return frozenset(domain for domain, takes_none in found.items() if takes_none)


def domain_of(email: str) -> str:
    return email.rpartition("@")[2].lower()


def warning(domains: Sequence[str]) -> list[str]:
    """Returns what is said of people at such domains, one of `domains` for each person; nothing for none."""
    if not domains:
        return []
    who = "1 of them has" if len(domains) == 1 else f"{len(domains):,} of them have"
    names = sorted(set(domains))
    more = f" and {len(names) - _NAMED_MOST:,} more" if len(names) > _NAMED_MOST else ""
    told = (
        f"null_mx: {who} an address at a domain that takes no mail: {', '.join(names[:_NAMED_MOST])}{more}. Mail to it "
        "would come back: correct the address by upsert_contacts, or end the enrollment by update_enrollment."
    )
    return [told]


def is_to_ask(app: App, campaign_id: UUID) -> bool:
    """Returns whether the DNS is asked of people who are enrolled in the campaign: see `without_mail`."""
    if app.settings.resolver is not None:
        return True
    return app.settings.clock_file is None and app.run(
        "look for mailboxes", partial(_has_mailboxes, campaign_id=campaign_id), read_only=True
    )


def _has_mailboxes(session: "Session", *, campaign_id: UUID) -> bool:
    from db.services.campaigns import campaigns  # noqa: PLC0415  a client is answered without it

    try:
        return bool(campaigns.get(session, campaign_id=campaign_id).settings.get("mailboxes"))
    except NotFound:
        return False  # which the call will find too


def _ask_all(app: App, domains: Sequence[str]) -> dict[str, bool | None]:
    """Returns domain -> whether it takes no mail; None if that was not found out in time."""
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="recipient-domains")
    try:
        asked = {domain: pool.submit(_takes_none, app, domain) for domain in domains}
        done, _ = wait(asked.values(), timeout=SECONDS_MOST)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {domain: future.result() if future in done else None for domain, future in asked.items()}


def _takes_none(app: App, domain: str) -> bool | None:
    from mcp_server.mail.dns import NoAnswer, Resolver  # noqa: PLC0415  a server without mailboxes runs without it

    # Each domain has a resolver of its own: one whose servers do not answer says nothing of the others.
    resolver = Resolver(app.settings.resolver, seconds=SECONDS_MOST)
    try:
        return authentication.mx(resolver.mail_hosts(domain_in_ascii(domain))) is Finding.NO_MAIL
    except NoAnswer:
        return None
