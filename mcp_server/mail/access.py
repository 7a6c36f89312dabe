"""How to reach a mailbox: its servers, and the credentials for each, from a variable or from the database."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from db.domain.errors import Conflict, MailboxUnusable, NotFound, NotPermitted
from db.domain.mailboxes import CredentialSource, MailServer, Service
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from mcp_server.mail.credentials import Credential, KeyRing, OAuthGrant, from_environment
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.models import Mailbox
    from db.services import Session
    from mcp_server.mail.clients import Smtp
    from mcp_server.mail.connections import Imap


REFRESH_MARGIN = timedelta(minutes=5)
"""A token is refreshed as long before it ends, so that no connection begins with one that is about to end."""


@dataclass(frozen=True, slots=True)
class Access:
    """The credentials of one mailbox, read once from its row. An OAuth grant is refreshed and stored when it is
    used."""

    app: App
    address: str
    servers: "dict[Service, MailServer]"
    _stored: dict[Service, bytes] = field(repr=False)

    @classmethod
    def of(cls, app: App, row: "Mailbox") -> "Access":
        """Returns the access of a mailbox, read from its row now."""
        servers = servers_of(row)
        stored = {service: kept for service in servers if (kept := mailboxes.credential_of(row, service))}
        return cls(app, row.address, servers, stored)

    @contextmanager
    def smtp(self, *, is_brief: bool = False) -> "Generator[Smtp]":
        """Opens a connection for sending: see connections.smtp. MailboxUnusable also as `credential`."""
        from mcp_server.mail import connections  # noqa: PLC0415  a server without mailboxes starts without it

        settings = self.app.settings
        with connections.smtp(
            self.servers[Service.SMTP],
            address=self.address,
            credential=self.credential(Service.SMTP),
            allow_private=settings.allow_private_hosts,
            only_loopback=settings.clock_file is not None,
            is_brief=is_brief,
        ) as connection:
            yield connection

    @contextmanager
    def imap(self, *, is_brief: bool = False) -> "Generator[Imap]":
        """Opens a connection for reading: see connections.imap. NotFound if the mailbox has no IMAP server."""
        from mcp_server.mail import connections  # noqa: PLC0415  as above

        server = self.server(Service.IMAP)
        if server is None:
            raise NotFound("IMAP server of", self.address)
        settings = self.app.settings
        with connections.imap(
            server,
            address=self.address,
            credential=self.credential(Service.IMAP),
            allow_private=settings.allow_private_hosts,
            only_loopback=settings.clock_file is not None,
            is_brief=is_brief,
        ) as client:
            yield client

    def server(self, service: Service) -> MailServer | None:
        """Returns the server for sending or reading; None if the mailbox has no IMAP server."""
        return self.servers.get(service)

    def credential(self, service: Service) -> Credential:
        """Returns the credential of the mailbox. A variable has priority over a stored one. MailboxUnusable if there is
        none, if the key does not fit, or if an OAuth grant can't be refreshed."""
        given = from_environment(self.address, service)
        if given is not None:
            return given
        stored = self._stored.get(service)
        if stored is None:
            raise MailboxUnusable(
                f"{self.address} has no credentials for {service.upper()}. Give them with the command: "
                f"sales-automation-mcp mailboxes add {self.address}."
            )
        keys = KeyRing.open(self.app.settings, is_made=False)
        credential = keys.decrypt(stored, server=self.servers[service], address=self.address)
        if isinstance(credential, OAuthGrant) and credential.expires_at <= self.app.clock() + REFRESH_MARGIN:
            credential = self._refreshed(credential, service, keys)
        return credential

    def _refreshed(self, grant: OAuthGrant, service: Service, keys: KeyRing) -> OAuthGrant:
        from mcp_server.mail import oauth  # noqa: PLC0415  a server that needs no OAuth starts without it

        fresh = oauth.refresh(self.app.settings, grant, address=self.address, now=self.app.clock())
        encrypted = {
            stored: keys.encrypt(fresh, server=self.servers[stored], address=self.address)
            for stored in self._stored
            if stored is service or self._has_grant(stored, grant, keys)
        }

        def keep(session: "Session") -> None:
            row = mailboxes.find(session, mailbox=self.address, is_locked=True)
            # What was given, or encrypted with a new key, since it was read is newer.
            same = {stored: new for stored, new in encrypted.items() if self._is_unchanged(row, stored)}
            mailboxes.store_credentials(session, row=row, given=same)

        with suppress(NotPermitted):  # a read-only server uses the token as long as it lasts
            self.app.run("keep OAuth tokens", keep)
        self._stored.update(encrypted)
        return fresh

    def _is_unchanged(self, row: "Mailbox", service: Service) -> bool:
        return mailboxes.credential_of(row, service) == self._stored[service]

    def _has_grant(self, service: Service, grant: OAuthGrant, keys: KeyRing) -> bool:
        try:
            other = keys.decrypt(self._stored[service], server=self.servers[service], address=self.address)
        except MailboxUnusable:  # the check of that server tells it
            return False
        return isinstance(other, OAuthGrant) and other.refresh_token == grant.refresh_token


def give(
    app: App,
    *,
    address: str,
    change: MailboxChange,
    servers: "Mapping[Service, MailServer]",
    given: Mapping[Service, Credential],
) -> None:
    """Connects or changes a mailbox and stores its credentials, or does neither.

    servers: those that the mailbox has after the change, as shown to the person who gave the credentials. Conflict if
    it has others, since somebody else has moved it meanwhile.
    """
    keys = KeyRing.open(app.settings, is_made=True)
    encrypted = {
        service: keys.encrypt(credential, server=servers[service], address=address)
        for service, credential in given.items()
    }

    def work(session: "Session") -> None:
        is_known = any(row.address == address for row in mailboxes.list_(session))
        changed = mailboxes.update(session, mailbox=address, change=change) if is_known else None
        row = changed or mailboxes.connect(session, address=address, change=change)
        if servers_of(row) != servers:
            raise Conflict(f"The servers of {address} were changed meanwhile. Nothing is stored: run it again.")
        mailboxes.store_credentials(session, row=row, given=encrypted)

    app.run("give credentials", work)


def servers_of(row: "Mailbox") -> "dict[Service, MailServer]":
    """Returns the servers of a mailbox: for sending, and if it has one, for reading."""
    return {service: server for service in Service if (server := mailboxes.server_of(row, service))}


def sources_of(row: "Mailbox") -> dict[Service, CredentialSource]:
    """Returns the source of the credentials for each server."""

    def source(service: Service) -> CredentialSource:
        if from_environment(row.address, service) is not None:
            return CredentialSource.VARIABLE
        return CredentialSource.STORED if mailboxes.credential_of(row, service) else CredentialSource.MISSING

    return {service: source(service) for service in Service}
