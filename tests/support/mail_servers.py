"""Mail servers on loopback, in threads of the test's process: SMTP (aiosmtpd), IMAP (pymap), and one that signs in by
OAuth."""

import asyncio
import base64
import json
import ssl
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from anyio.from_thread import start_blocking_portal
from proxyprotocol.sock import SocketInfo
from pymap.backend.dict import DictBackend
from pymap.imap import IMAPServer, IMAPService


@dataclass(frozen=True)
class Certificates:
    """A certificate for `host`, by an authority whose own stands in the file `authority`."""

    host: str
    authority: Path
    chain: Path
    context: ssl.SSLContext


def certificates(folder: Path, host: str = "localhost") -> Certificates:
    authority = trustme.CA()
    issued = authority.issue_cert(host)
    chain = folder / "chain.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(chain)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    return Certificates(host, folder / "authority.pem", chain, context)


DROP = ""
"""Instead of an answer: the connection ends."""


@dataclass
class SmtpServer:
    """It takes the sign-ins of `passwords` and keeps what it is sent.

    script: what it answers instead of the usual, by MAIL, RCPT, DATA, CONTENT (once the first line of a mail is there:
    DROP alone) or DOT (once all of it is); turns: the same for one mail after another, None for the usual.
    keeps: whether a mail whose DOT is in the script is kept all the same. waits: before it answers a DOT, until this is
    set. when_taken: called with each mail before it is answered. seen: the commands MAIL, RCPT and DATA that came, and
    RSET; connections: how many there were.
    """

    port: int
    passwords: dict[str, str]
    taken: list[Envelope] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    script: dict[str, str] = field(default_factory=dict)
    keeps: bool = False
    seen: list[str] = field(default_factory=list)
    turns: dict[str, list[str | None]] = field(default_factory=dict)
    waits: threading.Event | None = None
    when_taken: Callable[[Envelope], object] = lambda _: None
    connections: int = 0

    def answer(self, place: str) -> str | None:
        """What the script says there. DROP ends the connection."""
        said = self.turns[place].pop(0) if self.turns.get(place) else self.script.get(place)
        if said == DROP:
            raise asyncio.CancelledError
        return said


class _Scripted(SMTP):
    """Answers DATA by the script."""

    def __init__(self, server: SmtpServer, **more: Any) -> None:
        super().__init__(_Handler(server), **more)
        self._script = server

    async def smtp_DATA(self, arg: str) -> None:
        self._script.seen.append("DATA")
        said = self._script.answer("DATA")
        if said is not None:
            await self.push(said)
        elif "CONTENT" in self._script.script or self._script.turns.get("CONTENT"):
            await self.push("354 go on")
            await self._reader.readuntil(b"\r\n")
            self._script.answer("CONTENT")
        else:
            await super().smtp_DATA(arg)


class _Handler:
    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    async def handle_MAIL(
        self, _server: object, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._server.seen.append("MAIL")
        said = self._server.answer("MAIL")
        if said is None:
            envelope.mail_from, envelope.mail_options = address, options
        return said or "250 OK"

    async def handle_RCPT(
        self, _server: object, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        self._server.seen.append("RCPT")
        said = self._server.answer("RCPT")
        if said is None:
            envelope.rcpt_tos.append(address)
        return said or "250 OK"

    async def handle_RSET(self, _server: object, _session: Session, _envelope: Envelope) -> str:
        self._server.seen.append("RSET")
        return "250 OK"

    async def handle_DATA(self, _server: object, _session: Session, envelope: Envelope) -> str:
        server = self._server
        is_scripted = "DOT" in server.script or (server.turns.get("DOT") or [None])[0] is not None
        if server.keeps or not is_scripted:
            server.taken.append(envelope)
            await asyncio.to_thread(server.when_taken, envelope)
        if server.waits is not None:
            await asyncio.to_thread(server.waits.wait, 60)
        return server.answer("DOT") or "250 OK"

    async def auth_XOAUTH2(self, server: Any, args: list[str]) -> AuthResult:
        """As Google and Microsoft take it."""
        plain = base64.b64decode(args[1]) if len(args) > 1 else await server.challenge_auth("")
        user, _, rest = plain.decode().removeprefix("user=").partition("\1")
        token = rest.removeprefix("auth=Bearer ").rstrip("\1")
        return AuthResult(success=self._server.tokens.get(user) == token, handled=False, auth_data=user)


@contextmanager
def smtp_server(
    passwords: dict[str, str],
    *,
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    smtputf8: bool = False,
) -> Generator[SmtpServer]:
    """`tls`: from the start; `starttls`: on request. Without either, it is in the clear."""
    server = SmtpServer(0, passwords)

    def authenticate(_server: object, _session: object, _envelope: object, mechanism: str, data: Any) -> AuthResult:
        if mechanism not in ("PLAIN", "LOGIN"):
            return AuthResult(success=False, handled=False)
        known = server.passwords.get(data.login.decode())
        return AuthResult(success=known is not None and known == data.password.decode(), handled=False)

    def protocol() -> SMTP:
        server.connections += 1
        return _Scripted(
            server,
            tls_context=starttls,
            authenticator=authenticate,
            auth_require_tls=False,
            hostname="localhost",
            enable_SMTPUTF8=smtputf8,
        )

    async def start() -> Any:
        return await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)

    with _in_thread(start) as port:
        server.port = port
        yield server


@dataclass(frozen=True)
class ImapServer:
    port: int


@contextmanager
def imap_server(
    address: str, password: str, *, tls: ssl.SSLContext | None = None, certificate: Path | None = None
) -> Generator[ImapServer]:
    """A mailbox of one user with an INBOX. `tls`: from the start; `certificate`: for STARTTLS."""
    with _in_thread(lambda: _start_imap(address, password, tls, certificate)) as port:
        yield ImapServer(port)


async def _start_imap(address: str, password: str, tls: ssl.SSLContext | None, certificate: Path | None) -> Any:
    parser = ArgumentParser()
    IMAPService.add_arguments(parser)
    parser.set_defaults(
        debug=False, skip_services=[], passlib_cfg=None, demo_data=False, demo_user=address, demo_password=password
    )
    given = ["--no-tls"] if certificate is None else ["--cert", str(certificate), "--key", str(certificate)]
    backend, config = await DictBackend.init(parser.parse_args(given))
    config.apply_context()

    # The callback that pymap's own service uses leaves its task to the garbage collector from Python 3.13 on.
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await IMAPServer(backend.login, config)(reader, writer, SocketInfo.get(writer, None))

    return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)


@contextmanager
def silent_server(greeting: bytes = b"") -> Generator[int]:
    """The port of a server that says its greeting, and nothing after it."""

    async def start() -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(greeting)
            await reader.read()
            writer.close()

        return await asyncio.start_server(serve, "127.0.0.1", 0)

    with _in_thread(start) as port:
        yield port


Answer = Callable[[bytes], bytes | None]
"""Line of a client -> what a server answers; None where it answers without end."""


@contextmanager
def endless_server(
    endless: bytes, *, greeting: bytes = b"", pause: float = 0.0, answer: Answer = lambda _: None
) -> Generator[int]:
    """The port of a server that says its greeting, then answers lines, and from that where `answer` gives None sends
    `endless` again and again, with pauses of as many seconds. Without a greeting it begins with that."""

    stopped = threading.Event()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the client goes
                self.wfile.write(greeting)
                while greeting and (given := answer(self.rfile.readline())) is not None:
                    self.wfile.write(given)
                while not stopped.wait(pause):
                    self.wfile.write(endless)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            stopped.set()
            server.shutdown()
            thread.join()


def imap_answers(*, until: bytes = b"nothing", **answers: bytes) -> Answer:
    """Agrees to each command of IMAP, after the untagged lines for it in `answers`; not to the command `until`."""

    def answer(line: bytes) -> bytes | None:
        tag, _, rest = line.strip().partition(b" ")
        command = rest.split(b" ")[0].upper()
        if not tag or command == until:
            return None
        capable = b"* CAPABILITY IMAP4rev1 IDLE\r\n" if command == b"CAPABILITY" else b""
        return capable + answers.get(command.decode(), b"") + tag + b" OK done\r\n"

    return answer


def smtp_answers(*, until: bytes = b"nothing") -> Answer:
    """Agrees to each command of SMTP, but not to the command `until`."""

    def answer(line: bytes) -> bytes | None:
        command = line.strip().split(b" ")[0].upper()
        if not command or command == until:
            return None
        return {b"EHLO": b"250-localhost\r\n250 AUTH PLAIN\r\n", b"AUTH": b"235 OK\r\n"}.get(command, b"250 OK\r\n")

    return answer


@contextmanager
def _in_thread(start: Callable[[], Any]) -> Generator[int]:
    """Runs a server of asyncio in a thread, and gives its port."""
    with start_blocking_portal() as portal:
        server = portal.call(start)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            portal.call(_stop, server)


async def _stop(server: asyncio.Server) -> None:
    server.close()
    # Connections that a client has left half open would keep the loop.
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    serving = [task for task in tasks if "portal" not in repr(task.get_coro()).lower()]
    if serving:
        _, left = await asyncio.wait(serving, timeout=1)
        for task in left:
            task.cancel()
    for _ in range(3):  # what has ended closes its connections in the next rounds of the loop
        await asyncio.sleep(0)


@dataclass
class OAuthServer:
    """An authorization server. It agrees at once, and gives the tokens access-1, access-2 ..., refresh-1 ...

    `is_revoked`: it takes no refresh token any more. `pending`: how often it asks a device to wait.
    """

    url: str = ""
    given: int = 0
    expires_in: int = 3600
    is_revoked: bool = False
    pending: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.requests.append(form)
        if form["grant_type"].endswith("device_code") and self.pending:
            self.pending -= 1
            return 400, {"error": "authorization_pending"}
        if self.is_revoked:
            return 400, {"error": "invalid_grant", "error_description": "secret words of the provider"}
        self.given += 1
        tokens = {"access_token": f"access-{self.given}", "token_type": "Bearer", "expires_in": self.expires_in}
        if form["grant_type"] != "refresh_token":
            tokens["refresh_token"] = f"refresh-{self.given}"
        return 200, tokens


@contextmanager
def oauth_server() -> Generator[OAuthServer]:
    state = OAuthServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Agrees, and sends the browser back."""
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            state.requests.append(asked)
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{urlencode({'code': 'c', 'state': asked['state']})}")
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            status, answer = (200, _DEVICE) if self.path == "/device" else state.token(form)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


_DEVICE = {
    "device_code": "d",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://example.com/device",
    "interval": 1,
}
