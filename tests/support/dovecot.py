"""Dovecot on loopback, with a configuration and mails of its own. It runs as root alone, as packages install it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import imapclient  # pyright: ignore[reportMissingTypeStubs]  it has none
import pytest

BINARY = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_dovecot = pytest.mark.skipif(
    BINARY is None or os.name != "posix" or os.geteuid() != 0,
    reason="Dovecot is not installed (apt install dovecot-imapd), or the tests do not run as root",
)
NOBODY = 65_534
_CONF = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = 1
default_process_limit = 200
mail_max_userip_connections = 100
mail_fsync = never
mail_location = {location}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={folder}/homes/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service auth {{
  unix_listener auth-client {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Spam {{
    auto = subscribe
    special_use = \\Junk
  }}
  mailbox Outbound {{
    auto = subscribe
    special_use = \\Sent
  }}
}}
"""


@dataclass
class Dovecot:
    """A running server. `client` signs in as a user, to put mails there and look at them."""

    folder: Path
    port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def homes(self) -> Path:
        """Where the folders of its users are."""
        return self.folder / "homes"

    @property
    def sign_ins(self) -> Path:
        """The socket at which another server asks it to judge sign-ins."""
        return self.folder / "run" / "auth-client"

    def start(self) -> None:
        assert BINARY is not None
        self._process = subprocess.Popen(
            [BINARY, "-F", "-c", str(self.folder / "dovecot.conf")], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    if connection.recv(4) == b"* OK":
                        return
            except OSError:
                pass
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)  # it tells nobody when it listens
        raise AssertionError("Dovecot does not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def client(self, user: str) -> Generator[Any]:
        client: Any = imapclient.IMAPClient("127.0.0.1", self.port, ssl=False)
        client.normalise_times = False
        client.login(user, "secret")
        try:
            yield client
        finally:
            client.logout()

    def put(self, user: str, mails: Iterable[bytes], *, into: str = "INBOX", at: datetime | None = None) -> None:
        """Files mails as a delivery does: without any flag."""
        with self.client(user) as client:
            for raw in mails:
                client.append(into, raw, (), at)


@contextmanager
def dovecot(location: str = "sdbox:~/mail") -> Generator[Dovecot]:
    """A server that lets every user in by the password `secret`. Each has an INBOX, and folders for junk and sent mail
    that no usual name tells. location: where and how it keeps mails; in `maildir:~/Maildir` others may deliver."""
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o755)
    try:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Dovecot(folder, port)
        server.homes.mkdir()
        os.chown(server.homes, NOBODY, NOBODY)
        conf = _CONF.format(folder=folder, port=port, uid=NOBODY, location=location)
        (folder / "dovecot.conf").write_text(conf)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
