"""Checks what the DNS says of the domain that a mailbox sends from. A resolver that does not answer only warns."""

from collections.abc import Callable, Sequence
from typing import Final

from db.domain.mail import authentication
from db.domain.mail.authentication import Finding
from db.domain.mailboxes import Check, CheckStatus
from mcp_server.mail.dns import NoAnswer, Resolver


def run(resolver: Resolver, domain: str, results: Sequence[str] = ()) -> list[Check]:
    """Returns the checks of a domain, given in ASCII.

    results: the Authentication-Results headers of mails that came in from it, as the mailbox's own server wrote them.
    """
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("mx", lambda: _mx(resolver, domain)),
        ("spf", lambda: _spf(resolver, domain)),
        ("dkim", lambda: _dkim(resolver, domain, results)),
        ("dmarc", lambda: _dmarc(resolver, domain)),
    )
    return [_answered(name, check) for name, check in checks]


def _answered(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except NoAnswer as error:
        detail, _, advice = str(error).partition(". ")
        return Check(name, CheckStatus.WARNING, f"{detail}.", advice or None)


def _mx(resolver: Resolver, domain: str) -> Check:
    hosts = resolver.mail_hosts(domain)
    finding = authentication.mx(hosts)
    if finding is Finding.NO_MAIL:
        told = f"{domain} says that it takes no mail (null MX), so no answer can come back."
        return Check("mx", CheckStatus.FAILED, told, "Give the domain MX records of its mail host.")
    if finding is Finding.ABSENT and not resolver.has_address(domain):
        told = f"{domain} has no MX record, so no answer can come back."
        return Check("mx", CheckStatus.FAILED, told, "Give the domain MX records of its mail host.")
    if finding is Finding.ABSENT:
        told = f"{domain} has no MX record; mail for it goes to its address."
        return Check("mx", CheckStatus.WARNING, told, "Give the domain MX records: some servers refuse mail without.")
    return Check("mx", CheckStatus.OK, f"Mail for {domain} goes to {_shown(hosts[0])}.")


_SPF_ADVICE: Final = {
    Finding.ABSENT: (
        "{domain} has no SPF record.",
        'Publish a TXT record at {domain}, as "v=spf1 include:HOST -all", with the include that your mail host names.',
    ),
    Finding.SEVERAL: (
        "{domain} has several SPF records, so receivers take none of them.",
        "Make one of them, with all their terms.",
    ),
    Finding.BROKEN: ("The SPF record of {domain} can't be read.", "Correct its terms: {record}"),
    Finding.TOO_MANY_LOOKUPS: (
        "The SPF record of {domain} takes more than 10 lookups, so receivers take it for broken.",
        "Take out what you send from no more, or replace an include by its addresses.",
    ),
    Finding.ALLOWS_ALL: (
        "The SPF record of {domain} lets everybody send in its name.",
        "End it with ~all or -all instead of +all.",
    ),
    Finding.NO_END: (
        "The SPF record of {domain} does not say what to make of other servers.",
        "End it with ~all or -all.",
    ),
}
_ONLY_WARNS: Final = frozenset({Finding.ALLOWS_ALL, Finding.NO_END})


def _spf(resolver: Resolver, domain: str) -> Check:
    found = authentication.spf(domain, resolver.texts)
    if found.finding is None:
        return Check("spf", CheckStatus.OK, f"{domain} publishes {_shown(found.record or '')}")
    detail, advice = _SPF_ADVICE[found.finding]
    status = CheckStatus.WARNING if found.finding in _ONLY_WARNS else CheckStatus.FAILED
    words = {"domain": domain, "record": _shown(found.record or "")}
    return Check("spf", status, detail.format(**words), advice.format(**words))


def _dkim(resolver: Resolver, domain: str, results: Sequence[str]) -> Check:
    if any(authentication.passed_dkim(result, domain) for result in results):
        return Check("dkim", CheckStatus.OK, f"A mail from {domain} that came in was signed, and its signature held.")
    for selector in authentication.SELECTORS:
        if authentication.has_dkim_key(resolver.texts(f"{selector}._domainkey.{domain}")):
            return Check("dkim", CheckStatus.OK, f"{domain} publishes a key as {selector}._domainkey.")
    return Check(
        "dkim",
        CheckStatus.WARNING,
        f"No DKIM key of {domain} was found under the usual names. It may have one under another.",
        "Switch DKIM on at your mail host. Then send_test to this mailbox: a mail that came in signed is seen here.",
    )


def _dmarc(resolver: Resolver, domain: str) -> Check:
    found = authentication.dmarc(domain, resolver.texts)
    if found.finding is None:
        return Check("dmarc", CheckStatus.OK, f"{found.place} asks for {found.policy}.")
    if found.finding is Finding.ABSENT:
        told = f"{domain} has no DMARC record, which Google and Yahoo ask of senders."
        return Check("dmarc", CheckStatus.FAILED, told, f'Publish a TXT record at _dmarc.{domain}: "v=DMARC1; p=none"')
    if found.finding is Finding.SEVERAL:
        told = f"{found.place} has several DMARC records, so receivers take none of them."
        return Check("dmarc", CheckStatus.FAILED, told, "Leave one of them.")
    told = f"The DMARC record of {found.place} has no policy."
    return Check("dmarc", CheckStatus.FAILED, told, "Give it p=none, p=quarantine or p=reject.")


_SHOWN: Final = 200


def _shown(text: str) -> str:
    """Returns a record for an answer. Its owner may have put anything into it."""
    shown = "".join(letter for letter in text if letter.isprintable())
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
