"""The company of an address: its registrable domain, unless anybody can have an address there."""

from functools import cache
from typing import TYPE_CHECKING, Final

from db.domain.freemail import FREEMAIL

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

NAMES_OF_DOMAIN: Final = """(
    SELECT n.name
    FROM (SELECT split_part(lower(c.email), '@', 2)) a(domain)
    CROSS JOIN LATERAL (SELECT substr(domain, strpos(domain, '.') + 1)) b(parent)
    CROSS JOIN LATERAL (SELECT domain UNION SELECT parent UNION SELECT substr(parent, strpos(parent, '.') + 1)) n(name)
)"""
"""The names that may be the company of a contact `c`: the domain of the address, and the two above it."""


def company_of(email: str | None) -> str | None:
    """Returns the company of an address; None without one, or if it is at a host of free addresses."""
    return company_domain(email.rpartition("@")[2]) if email else None


def company_domain(domain: str) -> str | None:
    """Returns the registrable domain of a domain, example.co.uk for mail.example.co.uk; None for a host of free
    addresses."""
    found = _suffixes().privatesuffix(domain.lower())
    return None if found is None or found in FREEMAIL else found


@cache
def _suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  its list takes long to read

    return PublicSuffixList()
