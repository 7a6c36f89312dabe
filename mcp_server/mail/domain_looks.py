"""Looks each hour whether the domains of mailboxes have SPF, DMARC or signed mail, and keeps what it saw: mail of a
domain without any of them is held after three days. A resolver that does not answer says nothing of a domain.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Final

from db.domain.addresses import domain_in_ascii
from db.domain.errors import Refused
from db.domain.mail import authentication
from db.domain.mail.authentication import Finding
from db.domain.sending_domains import SendingDomain
from db.services.mail import sending_domains
from mcp_server.mail import signed_mails
from mcp_server.mail.access import Access
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.models import Mailbox
    from mcp_server.mail.dns import Resolver

_DOMAINS_MOST: Final = 100
"""As many domains are looked at in one turn; the others come in the next."""
_TURN_SECONDS: Final = 15.0
_PATIENCE: Final = 0.5

logger = logging.getLogger(__name__)


class DomainLooks:
    """Looks on a thread of its own, for as long as mailboxes are read or sent from."""

    def __init__(self, app: App, stopping: threading.Event) -> None:
        self._app = app
        self._stopping = stopping
        self._thread = threading.Thread(target=self._loop, name="domain-looks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Waits until the thread has ended, but not for long: it may wait for a resolver."""
        self._thread.join(_PATIENCE)

    def _loop(self) -> None:
        while True:
            try:
                look_all(self._app, is_ending=self._stopping.is_set)
            except Exception as error:  # noqa: BLE001  nothing may end the loop
                logger.info("The domains of mailboxes can't be looked at: %s", type(error).__name__)
            if self._stopping.wait(_TURN_SECONDS):
                return


def look_all(app: App, *, is_ending: Callable[[], bool] = lambda: False) -> None:
    """Looks at the domains of all mailboxes that send, unless that was done within the hour. Where time is simulated,
    only the resolver of SALES_AUTOMATION_DNS_SERVER is asked: the real one knows nothing of invented domains.

    is_ending: whether to leave the others for later, as the process ends.
    """
    if not _is_to_look(app):
        return
    choose = partial(sending_domains.to_look_at, now=app.clock(), limit=_DOMAINS_MOST)
    found = app.run("choose domains", choose, read_only=True)
    if not found:
        return
    from mcp_server.mail.dns import Resolver  # noqa: PLC0415  a server without mailboxes runs without it

    resolver = Resolver(app.settings.resolver)
    for seen, rows in found:
        if is_ending():
            return
        is_absent = _is_absent(resolver, seen.domain)
        is_signed = bool(is_absent) and seen.signed_at is None and _is_signed(app, seen.domain, rows)
        _note(app, seen.domain, is_absent=is_absent, is_signed=is_signed)
        if resolver.is_silent:
            return  # of this domain alone, or of all: the next turn begins with the others


def note(app: App, resolver: "Resolver", domain: str, results: Sequence[str]) -> SendingDomain | None:
    """Keeps what a check of a mailbox has found of its domain; results: as in domain_checks.run. Returns what is known
    then; None where it is not to be kept: see look_all."""
    if not _is_to_look(app):
        return None
    return _note(
        app, domain, is_absent=_is_absent(resolver, domain), is_signed=signed_mails.have_passed(results, domain)
    )


def advice(seen: SendingDomain) -> str | None:
    """Returns from when on mail of the domain is held; None where it is not to be."""
    if seen.holds_from is None:
        return None
    if seen.is_held:
        return f"All steps from {seen.domain} are held (domain_unauthenticated) until one of them is there."
    begin = f"{seen.holds_from.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"From {begin} on all steps from {seen.domain} are held, unless SPF, DMARC or a signed mail is seen by then."


def _is_to_look(app: App) -> bool:
    is_real = app.settings.clock_file is None or app.settings.resolver is not None
    return is_real and not app.settings.read_only


def _note(app: App, domain: str, *, is_absent: bool | None, is_signed: bool) -> SendingDomain:
    keep = partial(sending_domains.note, domain=domain, is_absent=is_absent, is_signed=is_signed, now=app.clock())
    return app.run("keep what a domain says", keep)


def _is_absent(resolver: "Resolver", domain: str) -> bool | None:
    """Returns whether a domain has neither an SPF nor a DMARC record; None where that can't be found out."""
    from mcp_server.mail.dns import NoAnswer  # noqa: PLC0415  see look_all

    name = domain_in_ascii(domain)
    try:
        has_spf = authentication.spf(name, resolver.texts).finding is not Finding.ABSENT
        return not has_spf and authentication.dmarc(name, resolver.texts).finding is Finding.ABSENT
    except NoAnswer:
        return None


def _is_signed(app: App, domain: str, rows: "Iterable[Mailbox]") -> bool:
    """Returns whether one of the mailboxes has a signed mail of its own domain."""
    for row in rows:
        with suppress(Refused):
            if signed_mails.have_passed(signed_mails.of_mailbox(Access.of(app, row)), domain):
                return True
    return False
