"""Clients of SMTP and IMAP that hold their server to an allowance of time and bytes."""

import base64
import imaplib
import re
import smtplib
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from ipaddress import ip_address
from typing import Any, Final, NamedTuple, cast

import imapclient  # pyright: ignore[reportMissingTypeStubs]  it has none
from imapclient.exceptions import (  # pyright: ignore[reportMissingTypeStubs]  as above
    CapabilityError,
    IMAPClientError,
    ProtocolError,
)
from imapclient.response_parser import (  # pyright: ignore[reportMissingTypeStubs]  as above
    parse_fetch_response,
    parse_response,
)

from db.domain.mailboxes import MailServer, Security
from mcp_server.mail import fetch_answers
from mcp_server.mail.allowances import Allowance, Reader

Dial = Callable[[], socket.socket]
"""Connects to the server, with TLS where that comes first."""

ANSWER_SECONDS: Final = 600.0
"""How long a server may take to answer the end of a mail. A client that leaves before would not know what became of
it."""
_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
_LINE_MAX: Final = 1_000_000
"""Bytes in a line, as in imaplib."""
_MALFORMED: Final = (ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What imapclient raises where a response is not as it expects, besides its own errors."""


class Smtp(smtplib.SMTP):
    """A connection for sending."""

    def __init__(self, server: MailServer, dial: Dial, allowance: Allowance) -> None:
        self._dial, self._allowance = dial, allowance
        # Looking up a name for this machine could block, and would tell it to everybody who gets a mail.
        super().__init__(server.host, server.port, local_hostname="")
        assert self.sock is not None
        self.local_hostname = _literal(str(self.sock.getsockname()[0]))

    def getreply(self) -> tuple[int, bytes]:
        """Reads a reply within the allowance."""
        if self.file is None and self.sock is not None:
            self.file = cast("Any", Reader(self.sock, self._allowance))
        return super().getreply()

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Sends a command, which renews the allowance."""
        self._allowance.renew()
        super().putcmd(cmd, args)

    def send(self, s: Any) -> None:  # noqa: ANN401  as inherited
        """Sends bytes, or text, within the allowance."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("the connection is closed")
        try:
            self._allowance.send(self.sock, s.encode(self.command_encoding) if isinstance(s, str) else s)
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected("the connection is closed") from error

    def login_plain(self, user: str, password: str) -> None:
        """Signs in by PLAIN, in UTF-8 (RFC 4616); `login` takes ASCII alone."""
        self.ehlo_or_helo_if_needed()
        if "PLAIN" not in self.esmtp_features.get("auth", "").split():
            raise smtplib.SMTPNotSupportedError("the server does not offer PLAIN")
        plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        code, told = self.docmd("AUTH", f"PLAIN {plain}")
        if code != 235:
            raise smtplib.SMTPAuthenticationError(code, told)

    def content(self, raw: bytes) -> tuple[int, bytes]:
        """Sends the bytes of a mail (lines end in CRLF) after 354, with the dot that ends them, and returns the answer.

        A server may take ANSWER_SECONDS for it, as RFC 5321 (4.5.3.2.6) asks of its clients.
        """
        self._allowance.renew()
        usual, self._allowance.wait = self._allowance.wait, ANSWER_SECONDS
        try:
            self.send(_DOT.sub(b"..", raw) + b".\r\n")
            self._allowance.renew()
            return self.getreply()
        finally:
            self._allowance.wait = usual

    def _get_socket(self, *_: object) -> socket.socket:
        return self._dial()


class ImapClient(imapclient.IMAPClient):
    """A connection for reading."""

    def __init__(self, server: MailServer, dial: Dial, allowance: Allowance) -> None:
        self._made = lambda: _ImapProtocol(server, dial, allowance)
        self._allowance = allowance
        self._early: list[bytes] = []
        super().__init__(server.host, server.port, ssl=server.security is Security.TLS)
        self.normalise_times = False

    def fetch(self, messages: Sequence[int], data: Sequence[str]) -> Mapping[int, Mapping[bytes, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]  it takes less
        """Returns items of mails, by their UIDs."""
        status, parts = self._protocol.fetched(*_asked(messages, data))
        if status != "OK":
            raise IMAPClientError("the server refuses to fetch mails")
        if parts == [None]:
            return {}
        usual = fetch_answers.usual(parts)
        found: Mapping[int, Any] = parse_fetch_response(parts, normalise_times=False) if usual is None else usual
        # A server may tell of other mails too.
        return {uid: found[uid] for uid in messages if uid in found}

    def fetch_ahead(self, messages: Sequence[int], data: Sequence[str]) -> None:
        """Asks for what will be fetched next, so that the server can prepare it. `fetch` returns it, unless another
        folder was selected before."""
        self._protocol.ask(*_asked(messages, data))

    def idle(self) -> None:
        """Begins to wait for news. Those that the server tells before it agrees are kept for idle_check."""
        if not cast("Any", self).has_capability("IDLE"):
            raise CapabilityError("the server does not offer IDLE")
        self._idle_tag = self._protocol.begin("IDLE")
        while (line := self._protocol.next_response()) is not None:
            if not line.startswith(b"* "):
                raise IMAPClientError("the server does not go into IDLE")
            self._early.append(line)

    def idle_check(self, timeout: float | None = None) -> list[Any]:
        """Returns the news that came since the last call, parsed; waits for them at most `timeout` seconds (None: it
        does not wait). EOFError if the server has closed the connection."""
        self._allowance.renew()
        early, self._early = self._early, []
        return [_news(line) for line in (*early, *self._protocol.lines(0 if early else timeout or 0))]

    def idle_done(self) -> Any:  # noqa: ANN401  as inherited
        """Ends the waiting. Returns the server's last words, and the news since the last idle_check."""
        self._allowance.renew()
        text, news = cast("Any", super().idle_done())
        early, self._early = self._early, []
        return text, [*map(_news, early), *news]

    @property
    def _protocol(self) -> "_ImapProtocol":
        return cast("_ImapProtocol", self._imap)

    def _create_IMAP4(self) -> Any:  # noqa: ANN401, N802  as inherited
        return self._made()

    def _set_read_timeout(self) -> None:
        """Does nothing: each read sets a timeout of its own."""


Answer = tuple[str, list[Any]]
"""The status of an answer, and what it holds."""


class _Ahead(NamedTuple):
    """What was asked for before it is needed, and the answer if that was read already."""

    uids: str
    items: str
    tag: bytes
    answer: Answer | None = None


class _ImapProtocol(imaplib.IMAP4):
    def __init__(self, server: MailServer, dial: Dial, allowance: Allowance) -> None:
        self._dial, self._allowance = dial, allowance
        self._reader: Reader | None = None
        self._ahead: _Ahead | None = None
        super().__init__(server.host, server.port)

    def read(self, size: int) -> bytes:
        return self._source().read(size)

    def readline(self) -> bytes:
        line = self._source().readline(_LINE_MAX + 1)
        if len(line) > _LINE_MAX:
            raise self.error(f"a line has more than {_LINE_MAX} bytes")
        return line

    def send(self, data: Any) -> None:  # noqa: ANN401  as inherited
        self._allowance.send(self.sock, data)

    def begin(self, name: str, *arguments: str) -> bytes:
        """Sends a command, and returns its tag."""
        return cast("Any", self)._command(name, *arguments)  # noqa: SLF001

    def ask(self, uids: str, items: str) -> None:
        """Asks for items of mails, and does not wait for the answer."""
        self._forget_ahead()
        self._ahead = _Ahead(uids, items, self.begin("UID", "FETCH", uids, items))

    def fetched(self, uids: str, items: str) -> Answer:
        """Returns the server's answer with items of mails, for which it may have been asked before."""
        ahead = self._ahead
        if ahead is None or (ahead.uids, ahead.items) != (uids, items):
            return self.uid("FETCH", uids, items)
        self._ahead = None
        return ahead.answer or self._answer(ahead.tag)

    def select(self, mailbox: str = "INBOX", readonly: bool = False) -> Any:  # noqa: ANN401  as inherited
        """Selects a folder. What was asked for in the one before is dropped: UIDs mean other mails now."""
        self._forget_ahead()
        return super().select(mailbox, readonly)

    def _forget_ahead(self) -> None:
        self._read_ahead()
        self._ahead = None

    def _read_ahead(self) -> None:
        """Reads an answer that is under way. Where the server refuses, it is asked again when the mails are fetched."""
        ahead = self._ahead
        if ahead is None or ahead.answer is not None:
            return
        self._ahead = None
        try:
            self._ahead = ahead._replace(answer=self._answer(ahead.tag))
        except self.abort:
            raise
        except self.error:
            return

    def _answer(self, tag: bytes) -> Answer:
        status, data = cast("Any", self)._command_complete("FETCH", tag)  # noqa: SLF001
        return cast("Any", self)._untagged_response(status, data, "FETCH")  # noqa: SLF001

    def next_response(self) -> bytes | None:
        """Reads one response; None for a request to go on."""
        return cast("Any", self)._get_response()  # noqa: SLF001

    def lines(self, seconds: float) -> list[bytes]:
        """Waits at most as long for a line. Returns all lines that have come, without their ends."""
        found: list[bytes] = []
        while self._source().await_line(_LINE_MAX + 1, seconds):
            found.append(cast("Any", self)._get_line())  # noqa: SLF001
            seconds = 0
        return found

    def _source(self) -> Reader:
        # What was received before STARTTLS must not be read as if it had come after it.
        if self._reader is None or self._reader.connection is not self.sock:
            self._reader = Reader(self.sock, self._allowance)
        return self._reader

    def _create_socket(self, *_: object, **__: object) -> socket.socket:
        return self._dial()

    def _new_tag(self) -> Any:  # noqa: ANN401  as inherited
        self._read_ahead()  # the answers of two commands would be read as one
        self._allowance.renew()
        return cast("Any", super())._new_tag()  # noqa: SLF001


def _asked(messages: Sequence[int], data: Sequence[str]) -> tuple[str, str]:
    return ",".join(map(str, messages)), f"({' '.join(data)})"


def _literal(address: str) -> str:
    """Returns an address as it stands in EHLO (RFC 5321, 4.1.3)."""
    parsed = ip_address(address.partition("%")[0])
    return f"[{parsed}]" if parsed.version == 4 else f"[IPv6:{parsed}]"


def _news(line: bytes) -> Any:  # noqa: ANN401  as idle_check
    text = line.removeprefix(b"* ")
    if text.startswith((b"OK ", b"NO ")):
        return tuple(text.split(b" ", 1))
    return parse_response([text])


def _with_clear_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method of ImapClient that raises a ProtocolError for a response that it can't parse."""

    @wraps(method)
    def parsed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  as the method's
        try:
            return method(*args, **kwargs)
        except _MALFORMED as error:
            raise ProtocolError("a response can't be parsed") from error

    return parsed


for _name in (
    *("capabilities", "has_capability", "list_folders", "select_folder", "search", "fetch", "fetch_ahead", "noop"),
    *("append", "idle", "idle_check", "idle_done"),
):
    setattr(ImapClient, _name, _with_clear_errors(getattr(ImapClient, _name)))
