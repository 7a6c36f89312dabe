"""Signed mails: what a mailbox's own server found of the signatures of mails that came in from its domain."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from db.domain.addresses import domain_in_ascii
from db.domain.mail import authentication
from db.domain.mailboxes import Service
from db.domain.sending_domains import domain_of
from mcp_server.mail.access import Access

if TYPE_CHECKING:
    from mcp_server.mail.connections import Imap


def of_mailbox(access: Access) -> Sequence[str]:
    """Returns the Authentication-Results headers of the latest mails from its own domain in INBOX; none where the
    mailbox has no IMAP server. Refused if it can't be read."""
    if access.server(Service.IMAP) is None:
        return ()
    with access.imap(is_brief=True) as client:
        return results_in(client, domain_of(access.address))


def have_passed(results: Iterable[str], domain: str) -> bool:
    """Returns whether one of the headers tells of a valid signature of the domain."""
    return any(authentication.passed_dkim(result, domain_in_ascii(domain)) for result in results)


_RESULTS: Final = "BODY.PEEK[HEADER.FIELDS (AUTHENTICATION-RESULTS)]"
_MAILS_MOST: Final = 20
_RESULTS_CHARACTERS: Final = 4_000


def results_in(client: "Imap", domain: str) -> list[str]:
    """Returns what the mailbox's own server found of the latest mails that came from the domain: the header at the top
    of each, since any below may be the sender's."""
    if not domain.isascii():
        return []
    client.select_folder("INBOX", readonly=True)
    latest = sorted(client.search(["FROM", f"@{domain}"]))[-_MAILS_MOST:]
    if not latest:
        return []
    fetched = client.fetch(latest, [_RESULTS])
    headers = (
        value
        for mail in fetched.values()
        for name, value in mail.items()
        if name.startswith(b"BODY[HEADER") and isinstance(value, bytes)
    )
    unfolded = (header.decode("ascii", "replace").replace("\r\n ", " ").replace("\r\n\t", " ") for header in headers)
    return [text.strip().partition("\r\n")[0][:_RESULTS_CHARACTERS] for text in unfolded]
