"""Opens connections to the servers of a mailbox and signs in. Errors become a MailboxUnusable that says what to do."""

import imaplib
import logging
import smtplib
import socket
import ssl
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, cast

from imapclient.exceptions import CapabilityError, LoginError  # pyright: ignore[reportMissingTypeStubs]  it has none

from db.domain.errors import InvalidInput, MailboxUnusable
from db.domain.mailboxes import MailServer, Security
from mcp_server.mail import hosts
from mcp_server.mail.allowances import Allowance, Limits, TooMuchSent
from mcp_server.mail.clients import ImapClient, Smtp
from mcp_server.mail.credentials import Credential, Password

# These libraries log the content of connections, which is other people's mail.
logging.getLogger("imapclient").setLevel(logging.CRITICAL)

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
"""Seconds to wait for the next bytes; until the greeting, CONNECT_SECONDS."""
WHOLE_SECONDS: Final = 90.0
WHOLE_BYTES: Final = 1024 * 1024
"""What a server may take until a mailbox is signed in, or for a whole connection that is brief."""
COMMAND_SECONDS: Final = 600.0
COMMAND_BYTES: Final = 128 * 1024 * 1024
"""What a server may take for each command after the sign-in."""
CLOSING_SECONDS: Final = 5.0


class Imap(Protocol):
    """The used part of IMAPClient, which has no types of its own."""

    def login(self, username: str, password: str) -> object: ...
    def plain_login(self, identity: str, password: str) -> object: ...
    def oauth2_login(self, user: str, access_token: str) -> object: ...
    def starttls(self, ssl_context: ssl.SSLContext) -> object: ...
    def socket(self) -> socket.socket: ...
    def capabilities(self) -> tuple[bytes, ...]: ...
    def has_capability(self, capability: str) -> bool: ...
    def list_folders(self) -> list[tuple[tuple[bytes, ...], bytes, str]]: ...
    def select_folder(self, folder: str, readonly: bool = False) -> Mapping[bytes, Any]: ...
    def search(self, criteria: list[str | int]) -> list[int]: ...
    def fetch(self, messages: Sequence[int], data: Sequence[str]) -> Mapping[int, Mapping[bytes, Any]]: ...
    def fetch_ahead(self, messages: Sequence[int], data: Sequence[str]) -> None: ...
    def noop(self) -> object: ...
    def idle(self) -> object: ...
    def idle_check(self, timeout: float | None = None) -> list[Any]: ...
    def idle_done(self) -> object: ...
    def append(self, folder: str, msg: bytes, flags: tuple[bytes, ...] = ()) -> object: ...
    def logout(self) -> object: ...
    def shutdown(self) -> object: ...


@contextmanager
def smtp(
    server: MailServer,
    *,
    address: str,
    credential: Credential,
    allow_private: bool,
    only_loopback: bool = False,
    is_brief: bool = False,
) -> Generator[Smtp]:
    """Opens a connection for sending, signed in as the mailbox. The body talks to the server and does nothing else:
    what fails in it, or in the opening, is raised as a MailboxUnusable that says why.

    The sign-in has WHOLE_SECONDS, and each command after it COMMAND_SECONDS. `is_brief`: the whole connection has
    WHOLE_SECONDS. `only_loopback`: see hosts.check_peer.
    """
    _check(server, address, allow_private=allow_private)
    allowance = _allowance()

    def dial() -> socket.socket:
        return _dial(server, allowance, allow_private=allow_private, only_loopback=only_loopback)

    with _explained(server, address, "SMTP"):
        with _opening(server, address, "SMTP"):
            connection = Smtp(server, dial, allowance)
        try:
            with _opening(server, address, "SMTP"):
                allowance.wait = READ_SECONDS
                if server.security is Security.STARTTLS:
                    connection.starttls(context=_tls())
                connection.ehlo_or_helo_if_needed()
                _sign_in_smtp(connection, server.user(address), credential)
            _held(allowance, is_brief=is_brief)
            yield connection
            _closing(allowance)
            with suppress(OSError):
                connection.quit()
        finally:
            connection.close()


@contextmanager
def imap(
    server: MailServer,
    *,
    address: str,
    credential: Credential,
    allow_private: bool,
    only_loopback: bool = False,
    is_brief: bool = False,
) -> Generator[Imap]:
    """Opens a connection for reading, signed in as the mailbox. All is as for `smtp`; IDLE may wait for ever."""
    _check(server, address, allow_private=allow_private)
    allowance = _allowance()
    with _explained(server, address, "IMAP"):
        with _opening(server, address, "IMAP"):
            client = _imap(server, allowance, allow_private=allow_private, only_loopback=only_loopback)
        try:
            with _opening(server, address, "IMAP"):
                allowance.wait = READ_SECONDS
                if server.security is Security.STARTTLS:
                    client.starttls(_tls())
                _sign_in_imap(client, server.user(address), credential)
            _held(allowance, is_brief=is_brief)
            yield client
            _closing(allowance)
            with suppress(OSError, imaplib.IMAP4.error):
                client.logout()
        finally:
            with suppress(OSError):
                client.shutdown()


def shut(connection: Callable[[], socket.socket | None]) -> None:
    """Ends a connection from another thread, which gets its end. connection: gives it, if there is one still."""
    with suppress(OSError, AttributeError):
        open_ = connection()
        if open_ is not None:
            # Not the method of a TLS socket, which would drop the encryption under the thread that uses it.
            socket.socket.shutdown(open_, socket.SHUT_RDWR)


def _check(server: MailServer, address: str, *, allow_private: bool) -> None:
    try:
        hosts.check(server, allow_private=allow_private)
    except InvalidInput as error:
        raise MailboxUnusable(f"{address}: {error}") from None


def _imap(server: MailServer, allowance: Allowance, *, allow_private: bool, only_loopback: bool) -> Imap:
    def dial() -> socket.socket:
        return _dial(server, allowance, allow_private=allow_private, only_loopback=only_loopback)

    client: Any = ImapClient(server, dial, allowance)
    return cast("Imap", client)


def _allowance() -> Allowance:
    return Allowance(Limits(WHOLE_SECONDS, WHOLE_BYTES), wait=CONNECT_SECONDS)


def _held(allowance: Allowance, *, is_brief: bool) -> None:
    if not is_brief:
        allowance.renewal = Limits(COMMAND_SECONDS, COMMAND_BYTES)
        allowance.renew()


def _closing(allowance: Allowance) -> None:
    """Leaves the server little time to say goodbye."""
    allowance.renewal = None
    allowance.begin(Limits(CLOSING_SECONDS, WHOLE_BYTES))


def _dial(server: MailServer, allowance: Allowance, *, allow_private: bool, only_loopback: bool) -> socket.socket:
    """Connects to the first address of the server that answers, and checks that address before anything is sent."""
    connection = _connected(server, allowance)
    try:
        hosts.check_peer(connection, server, allow_private=allow_private, only_loopback=only_loopback)
        if server.security is not Security.TLS:
            return connection
        connection.settimeout(allowance.seconds())
        return _tls().wrap_socket(connection, server_hostname=server.host)
    except BaseException:
        connection.close()
        raise


def _connected(server: MailServer, allowance: Allowance) -> socket.socket:
    error: OSError = socket.gaierror("the host has no address")
    for *_, place in socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM):
        try:
            return socket.create_connection((str(place[0]), server.port), timeout=allowance.seconds())
        except OSError as failure:
            error = failure
    raise error


def _tls() -> ssl.SSLContext:
    """Returns a TLS context with the machine's trusted certificates, or with those in SSL_CERT_FILE."""
    return ssl.create_default_context()


def _xoauth2(username: str, token: str) -> Callable[[bytes | None], str]:
    """Returns a function that answers the server: first with the sign-in; then, after the reason of a refusal, with an
    empty line."""

    def answer(challenge: bytes | None = None) -> str:
        return f"user={username}\1auth=Bearer {token}\1\1" if challenge is None else ""

    return answer


def _sign_in_smtp(connection: Smtp, username: str, credential: Credential) -> None:
    if not isinstance(credential, Password):
        connection.auth("XOAUTH2", cast("Any", _xoauth2(username, credential.access_token)))
    elif f"{username}{credential.text}".isascii():
        connection.login(username, credential.text)
    else:
        connection.login_plain(username, credential.text)


def _sign_in_imap(client: Imap, username: str, credential: Credential) -> None:
    if not isinstance(credential, Password):
        client.oauth2_login(username, credential.access_token)
    elif f"{username}{credential.text}".isascii():
        client.login(username, credential.text)
    else:  # LOGIN takes ASCII alone
        client.plain_login(username, credential.text)


@contextmanager
def _opening(server: MailServer, address: str, protocol: str) -> Generator[None]:
    """Turns what fails in the opening into a MailboxUnusable, without the server's own words, which are not trusted."""
    try:
        yield
    except (*_FAILURES, ValueError) as error:
        raise _unusable(server, address, protocol, error, _REASONS, _OTHERWISE) from error


@contextmanager
def _explained(server: MailServer, address: str, protocol: str) -> Generator[None]:
    """Turns what fails on an open connection into a MailboxUnusable."""
    try:
        yield
    except _FAILURES as error:
        raise _unusable(server, address, protocol, error, _REASONS_LATER, _LOST) from error


_FAILURES: Final = (OSError, EOFError, imaplib.IMAP4.error)
"""What fails on a connection. The errors of smtplib, ssl and socket are OSErrors; those of imapclient, IMAP4.error."""
_Reasons = tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]
_REASONS_LATER: Final[_Reasons] = (
    (TooMuchSent, "the {place} sends more than was asked for, without end. Ask who runs it."),
    (TimeoutError, "the {place} does not answer in time. Try again in a minute."),
)
_LOST: Final = "the {place} has ended the connection, or answers what is not an answer. Try again in a minute."
_REASONS: Final[_Reasons] = (
    (
        (smtplib.SMTPAuthenticationError, LoginError),
        (
            "the {place} refuses the credentials. Give them again with the command mailboxes add, or mailboxes login "
            "where it signs in by OAuth. Many hosts want a password made for programs."
        ),
    ),
    (ssl.SSLCertVerificationError, "the certificate of the {place} is not valid for that host. Correct the host."),
    (ssl.SSLError, "the {place} speaks no TLS there. Use security starttls with port 587 or 143, tls with 465 or 993."),
    (socket.gaierror, "there is no host of the {place}. Correct its name."),
    (TooMuchSent, "the {place} sends without end. Check host and port."),
    (TimeoutError, "the {place} does not answer in time. Check host, port, and the firewall."),
    (ConnectionRefusedError, "nothing listens at the {place}. Check host and port."),
    (
        (smtplib.SMTPNotSupportedError, CapabilityError),
        "the {place} does not offer what the mailbox needs: sign-in, or STARTTLS. Check port and security.",
    ),
)
_OTHERWISE: Final = "the {place} does not answer as such a server. Check host, port and security."
"""What went wrong -> what is said of it: the first that fits."""


_NOT_NOW: Final = "the {place} signs nobody in at the moment. Try again in a minute."


def _unusable(
    server: MailServer, address: str, protocol: str, error: Exception, reasons: _Reasons, otherwise: str
) -> MailboxUnusable:
    cause = _cause(error)
    text = next((text for kind, text in reasons if isinstance(cause, kind)), otherwise)
    if _is_for_now(error):
        text = _NOT_NOW
    return MailboxUnusable(f"{address}: {text.format(place=f'{protocol} server {server.host}:{server.port}')}")


def _cause(error: Exception) -> BaseException:
    """Returns the error that the libraries have replaced by one that says less."""
    hidden = error.__cause__ or error.__context__
    if isinstance(error, smtplib.SMTPServerDisconnected | imaplib.IMAP4.abort) and isinstance(hidden, OSError):
        return hidden
    return error


def _is_for_now(error: Exception) -> bool:
    """Returns whether a sign-in failed for a reason that passes: 4yz (RFC 4954), UNAVAILABLE (RFC 5530), or the end of
    the connection, as where there are too many."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return error.smtp_code < 500
    is_cut_off = isinstance(error.__context__, imaplib.IMAP4.abort)
    return isinstance(error, LoginError) and (is_cut_off or "[UNAVAILABLE]" in str(error))
