"""Checks what works in a mailbox: each check has its result, and what to do if it fails."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from db.domain.addresses import domain_in_ascii
from db.domain.errors import Refused
from db.domain.mailboxes import Check, CheckStatus, Service
from mcp_server.mail.access import Access

if TYPE_CHECKING:
    from mcp_server.mail.connections import Imap


def run(access: Access) -> list[Check]:
    """Signs in at the servers of a mailbox, looks at its folders, and asks the DNS what it says of its domain. Sends
    nothing and changes nothing."""
    from mcp_server.mail import domain_checks  # noqa: PLC0415  a server that checks no mailbox starts without it
    from mcp_server.mail.dns import Resolver  # noqa: PLC0415  as above

    results: list[str] = []
    signed_in = sign_in(access, results)
    domain = domain_in_ascii(access.address.rpartition("@")[2])
    return [*signed_in, *domain_checks.run(Resolver(access.app.settings.resolver), domain, results)]


def sign_in(access: Access, results: list[str] | None = None) -> list[Check]:
    """Signs in at the servers of a mailbox and looks at its folders.

    results: takes the Authentication-Results headers of the latest mails from its own domain in INBOX.
    """
    return [_checked("smtp_login", lambda: _smtp_login(access)), *_imap(access, results)]


def _checked(name: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, CheckStatus.OK, work())
    except Refused as error:
        return Check(name, CheckStatus.FAILED, *_parts(str(error)))


def _parts(text: str) -> tuple[str, str | None]:
    """Splits an error's text into what is wrong (the first sentence) and what to do (the rest)."""
    found, _, advice = text.partition(". ")
    return f"{found.removesuffix('.')}.", advice or None


def _smtp_login(access: Access) -> str:
    with access.smtp(is_brief=True) as connection:
        connection.noop()
    server = access.servers[Service.SMTP]
    return f"Signed in at {server.host}:{server.port}."


def _imap(access: Access, results: list[str] | None) -> Iterable[Check]:
    server = access.server(Service.IMAP)
    if server is None:
        told = "The mailbox has no IMAP server, so answers and returned mail are not seen."
        yield Check("imap_login", CheckStatus.SKIPPED, told, "update_mailbox sets one.")
        yield Check("sent_folder", CheckStatus.SKIPPED, "It is looked for by IMAP.")
        return
    try:
        folders = _folders(access, results)
    except Refused as error:
        yield Check("imap_login", CheckStatus.FAILED, *_parts(str(error)))
        yield Check("sent_folder", CheckStatus.SKIPPED, "It is looked for after the sign-in by IMAP.")
        return
    yield Check("imap_login", CheckStatus.OK, f"Signed in at {server.host}:{server.port}.")
    yield _sent_folder(folders)


def _folders(access: Access, results: list[str] | None) -> Sequence[tuple[Sequence[bytes], str]]:
    with access.imap(is_brief=True) as client:
        folders = [(flags, name) for flags, _, name in client.list_folders()]
        if results is not None:
            results += _authentication_results(client, access.address.rpartition("@")[2])
        return folders


_RESULTS: Final = "BODY.PEEK[HEADER.FIELDS (AUTHENTICATION-RESULTS)]"
_MAILS_MOST: Final = 20
_RESULTS_CHARACTERS: Final = 4_000


def _authentication_results(client: "Imap", domain: str) -> list[str]:
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


_NAME_SHOWN: Final = 60
_USUAL_NAMES: Final = frozenset({"sent", "sent items", "sent messages", "sent mail", "[gmail]/sent mail"})


def _sent_folder(folders: Sequence[tuple[Sequence[bytes], str]]) -> Check:
    marked = next((name for flags, name in folders if b"\\Sent" in flags), None)
    if marked is not None:
        return Check("sent_folder", CheckStatus.OK, f"The folder for sent mail is {_shown(marked)}.")
    usual = next((name for _, name in folders if name.lower().removeprefix("inbox.") in _USUAL_NAMES), None)
    if usual is not None:
        return Check("sent_folder", CheckStatus.OK, f"The folder for sent mail is {_shown(usual)}, by its name.")
    return Check(
        "sent_folder",
        CheckStatus.WARNING,
        "The server marks no folder for sent mail.",
        "Make a folder named Sent; without it copies of what is sent are not kept.",
    )


def _shown(name: str) -> str:
    """Returns the name of a folder for an answer. The server may have put anything into it."""
    shown = "".join(letter for letter in name if letter.isprintable())
    return shown if len(shown) <= _NAME_SHOWN else f"{shown[:_NAME_SHOWN]}..."
