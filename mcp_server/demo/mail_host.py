"""A host of mailboxes on this machine, in the demo's process: SMTP (aiosmtpd) takes mails, IMAP (pymap) holds them."""

import asyncio
import logging
import ssl
from argparse import Namespace
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from email import policy
from email.parser import BytesHeaderParser
from typing import Final, NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from proxyprotocol.sock import SocketInfo
from pymap.backend.dict import Config, Login
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxSet
from pymap.concurrent import Subsystem
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials import FetchRequirement
from pymap.user import UserMetadata
from pysasl.hashing import Cleartext

HOST: Final = "127.0.0.1"
_INBOX: Final = "INBOX"
_SENT: Final = "Sent"


class Taken(NamedTuple):
    """A mail that the SMTP server took: sender and recipient of its envelope, and its Message-ID without brackets."""

    sender: str
    recipient: str
    message_id: str
    subject: str


class _ImapConfig(Config):
    @property
    def greeting(self) -> bytes:
        """A text: pymap would look up the name of this machine for each connection."""
        return b"Server ready"


class MailHost:
    """Mailboxes, each with an INBOX and a folder Sent. `taken`: the mails that went out, in their order."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        """passwords: address -> password of each mailbox."""
        self.taken: list[Taken] = []
        self.smtp_port = 0
        self.imap_port = 0
        self._passwords = passwords
        self._folders: dict[str, MailboxSet] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Listens on free ports of the loopback address."""
        # At each sign-in aiosmtpd warns of an attribute that it sets itself.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            smtp = await loop.create_server(self._smtp, HOST, 0)
            stack.callback(smtp.close)
            config = _imap_config()
            login = await self._login(config)

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await IMAPServer(login, config)(reader, writer, SocketInfo.get(writer, None))

            imap = await asyncio.start_server(serve, HOST, 0)
            stack.callback(imap.close)
            self.smtp_port, self.imap_port = (server.sockets[0].getsockname()[1] for server in (smtp, imap))
            yield

    async def deliver(self, address: str, mail: bytes, at: datetime) -> None:
        """Puts a mail into the INBOX of a mailbox, as if it had come in at that time."""
        inbox = await self._folders[address].get_mailbox(_INBOX)
        await inbox.append(AppendMessage(mail, at), recent=True)

    async def copies(self) -> list[str]:
        """Returns the Message-IDs of the mails in all folders Sent."""
        found: list[str] = []
        for folders in self._folders.values():
            sent = await folders.get_mailbox(_SENT)
            async for message in sent.messages():
                loaded = await message.load_content(FetchRequirement.HEADER)
                found += [value.strip().strip("<>") for value in loaded.get_header(b"Message-ID")]
        return found

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's
        """Takes a mail; aiosmtpd calls it."""
        if not session.authenticated:
            return "530 5.7.0 Sign in first"
        assert isinstance(envelope.content, bytes), "it is not decoded"
        header = BytesHeaderParser(policy=policy.default).parsebytes(envelope.content)
        self.taken += [
            Taken(envelope.mail_from or "", recipient, header["Message-ID"].strip("<> "), header["Subject"])
            for recipient in envelope.rcpt_tos
        ]
        return "250 2.0.0 OK"

    def _smtp(self) -> SMTP:
        return SMTP(self, hostname="localhost", authenticator=self._authenticate, auth_require_tls=False)

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: object
    ) -> AuthResult:
        assert isinstance(given, LoginPassword), "PLAIN and LOGIN are all that aiosmtpd offers by itself"
        is_known = self._passwords.get(given.login.decode()) == given.password.decode()
        return AuthResult(success=is_known, handled=False)

    async def _login(self, config: Config) -> Login:
        """Makes the mailboxes. Returns who may sign in to them."""
        login = Login(config)
        for address, password in self._passwords.items():
            folders = MailboxSet()
            await folders.add_mailbox(_SENT)
            login.users_dict[address] = UserMetadata(config, address, password=password)
            config.set_cache[address] = (folders, FilterSet())
            self._folders[address] = folders
        return login


def _imap_config() -> Config:
    return _ImapConfig(
        Namespace(passlib_cfg=None, proxy_protocol=None),
        host=HOST,
        port=0,
        demo_data=False,
        demo_user="",
        demo_password="",
        tls_enabled=False,
        ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        hash_context=Cleartext(),
        cpu_subsystem=Subsystem.for_asyncio(),
    )
