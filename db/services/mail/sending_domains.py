"""Keeps what was seen of the domains that mailboxes send from."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.sending_domains import SendingDomain, domain_of
from db.models import Mailbox
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.mail import mailboxes

_MAILBOXES_MOST: Final = 3
"""In as many mailboxes of a domain a signed mail is looked for."""

_READ = text("""
    SELECT domain, looked_at, absent_since, absent_until, signed_at FROM sending_domains
    WHERE domain = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
""").columns(*named("domain", "looked_at", "absent_since", "absent_until", "signed_at"))


def known(session: Session, *, domains: Collection[str]) -> Mapping[str, SendingDomain]:
    """Returns domain -> what was seen of it, also of those that nobody has looked at."""
    rows = session.execute(_READ, rows_parameter(sorted(domains))) if domains else ()
    found = [SendingDomain(*row) for row in rows]
    return {domain: SendingDomain(domain) for domain in domains} | {seen.domain: seen for seen in found}


def to_look_at(session: Session, *, now: datetime, limit: int) -> Sequence[tuple[SendingDomain, Sequence[Mailbox]]]:
    """Returns up to `limit` domains of mailboxes that are not paused and were not looked at within the hour, each with
    some of its mailboxes."""
    of_domain: dict[str, list[Mailbox]] = {}
    for row in mailboxes.list_sending(session):
        of_domain.setdefault(domain_of(row.address), []).append(row)
    seen = known(session, domains=of_domain)
    due = [domain for domain in of_domain if seen[domain].is_to_be_looked_at(now)]
    return [(seen[domain], of_domain[domain][:_MAILBOXES_MOST]) for domain in due[:limit]]


_LOCK = text("SELECT domain FROM sending_domains WHERE domain = :domain FOR NO KEY UPDATE")
_KEEP = text("""
    INSERT INTO sending_domains (domain, looked_at, absent_since, absent_until, signed_at)
    VALUES (:domain, :looked_at, :absent_since, :absent_until, :signed_at)
    ON CONFLICT (domain) DO UPDATE
    SET looked_at = excluded.looked_at, absent_since = excluded.absent_since, absent_until = excluded.absent_until,
        signed_at = excluded.signed_at, updated_at = excluded.updated_at
""")


def note(session: Session, *, domain: str, is_absent: bool | None, is_signed: bool, now: datetime) -> SendingDomain:
    """Keeps what a look has found: see SendingDomain.seen. Returns what is known then."""
    session.execute(_LOCK, {"domain": domain})
    seen = known(session, domains=[domain])[domain].seen(is_absent=is_absent, is_signed=is_signed, now=now)
    session.execute(
        _KEEP,
        {
            "domain": domain,
            "looked_at": seen.looked_at,
            "absent_since": seen.absent_since,
            "absent_until": seen.absent_until,
            "signed_at": seen.signed_at,
        },
    )
    return seen
