"""The company of an address: its registrable domain, unless anybody can have an address there."""

from functools import cache
from typing import TYPE_CHECKING, Final

from db.domain.freemail import FREEMAIL
from db.models import DOMAIN_BACKWARDS

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_DOMAIN: Final = DOMAIN_BACKWARDS.format(row="c")
WORKS_AT: Final = f"""
    {_DOMAIN} ~>=~ reverse({{company}}) AND {_DOMAIN} ~<~ (reverse({{company}}) || '/')
    AND starts_with({_DOMAIN} || '.', reverse({{company}}) || '.')
"""
"""Whether the address of a contact `c` is at the domain of a company, or at one below it. The bounds are for the index:
'/' is the next character after the dot."""


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
