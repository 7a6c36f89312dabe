"""Checks what works in a mailbox: each check has its result, and what to do if it fails."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from db.domain.addresses import domain_in_ascii
from db.domain.errors import Refused
from db.domain.mailboxes import Check, CheckStatus, Service
from db.domain.sending_domains import domain_of
from mcp_server.mail import signed_mails
from mcp_server.mail.access import Access


def run(access: Access) -> list[Check]:
    """Signs in at the servers of a mailbox, looks at its folders, and asks the DNS what it says of its domain, which is
    kept as the hourly looks are. Sends nothing."""
    from mcp_server.mail import domain_checks, domain_looks  # noqa: PLC0415  a server that checks none starts without
    from mcp_server.mail.dns import Resolver  # noqa: PLC0415  as above

    results: list[str] = []
    signed_in = sign_in(access, results)
    domain, resolver = domain_of(access.address), Resolver(access.app.settings.resolver)
    of_domain = domain_checks.run(resolver, domain_in_ascii(domain), results)
    seen = domain_looks.note(access.app, resolver, domain, results)
    held = domain_looks.advice(seen) if seen is not None else None
    return [*signed_in, *(_with_advice(check, held) if check.name == "dmarc" else check for check in of_domain)]


def _with_advice(check: Check, more: str | None) -> Check:
    return replace(check, advice=" ".join(filter(None, (check.advice, more))) or None)


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
            results += signed_mails.results_in(client, domain_of(access.address))
        return folders


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
