"""Postfix on loopback, with a configuration and a queue of its own. It runs as root alone, as packages install it.

Sign-ins are Dovecot's to judge; mails for its users are delivered into their Maildirs.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.dovecot import NOBODY, Dovecot

BINARY = shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_postfix = pytest.mark.skipif(
    BINARY is None or os.name != "posix" or os.geteuid() != 0,
    reason="Postfix is not installed (apt install postfix), or the tests do not run as root",
)
_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.org
mydestination =
mynetworks = 127.0.0.1/32
alias_maps =
alias_database =
local_recipient_maps =
biff = no
virtual_mailbox_domains = regexp:{folder}/domains
virtual_mailbox_base = {homes}
virtual_mailbox_maps = regexp:{folder}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_minimum_uid = 1
transport_maps = regexp:{folder}/transport
default_transport = error:5.4.4 No mail leaves this machine.
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl}
smtpd_sasl_security_options = noanonymous
smtpd_peername_lookup = no
smtpd_reject_unlisted_recipient = no
smtpd_client_connection_count_limit = 0
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Postfix:
    """A running server."""

    folder: Path
    port: int

    def heard(self) -> int:
        """Returns how many mails it was told of, those too that never came whole."""
        return (self.folder / "log").read_bytes().count(b": client=")

    def is_done(self) -> bool:
        """Returns whether nothing waits in its queue."""
        return not (self._waiting() or self._waiting())

    def _waiting(self) -> bool:
        # A report is written to `incoming` before the mail that it is about leaves `active`. Whoever listed `incoming`
        # just before sees neither, and sees the report the second time.
        places = ("maildrop", "incoming", "active", "deferred")
        return any(path.is_file() for place in places for path in (self.folder / "queue" / place).rglob("*"))


@contextmanager
def postfix(
    imap: Dovecot, *, addresses: Collection[str], catch_all: Mapping[str, str], returned: Mapping[str, str]
) -> Generator[Postfix]:
    """A server that takes every mail of who is signed in, and then delivers or returns it.

    addresses: USER@DOMAIN of users of `imap`, whose mails they get. catch_all: domain -> the user who gets all its
    mails. returned: domain -> the status and the words with which its mails are returned.
    """
    assert BINARY is not None
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)
    try:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        _configure(folder, port, imap)
        _write_maps(folder, addresses, catch_all, returned)
        _run(folder, "start")
        try:
            _await(port)
            yield Postfix(folder, port)
        finally:
            _run(folder, "abort")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, port: int, imap: Dovecot) -> None:
    shutil.copytree("/etc/postfix", folder / "conf", symlinks=True)
    (folder / "data").mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "queue").mkdir()
    given = {"folder": folder, "homes": imap.homes, "uid": NOBODY, "sasl": imap.sign_ins}
    (folder / "conf" / "main.cf").write_text(_MAIN.format(**given))
    (folder / "conf" / "master.cf").write_text(_MASTER.format(port=port))


def _write_maps(
    folder: Path, addresses: Collection[str], catch_all: Mapping[str, str], returned: Mapping[str, str]
) -> None:
    users = {address: address.partition("@")[0] for address in addresses}
    users |= {f"@{domain}": user for domain, user in catch_all.items()}
    domains = {place.partition("@")[2] for place in users}
    maps = {
        "domains": {f"^{domain}": "here" for domain in domains},
        "mailboxes": {place: f"{user}/Maildir/" for place, user in users.items()},
        "transport": {f"@{domain}": f"error:{words}" for domain, words in returned.items()},
    }
    for name, lines in maps.items():
        (folder / name).write_text("".join(f"/{pattern}$/ {value}\n" for pattern, value in lines.items()))


def _run(folder: Path, command: str) -> None:
    assert BINARY is not None
    done = subprocess.run(
        [BINARY, "-c", str(folder / "conf"), command], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, (done.stdout, done.stderr)


def _await(port: int) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                if connection.recv(4) == b"220 ":
                    return
        except OSError:
            pass
        time.sleep(0.02)  # it tells nobody when it listens
    raise AssertionError("Postfix does not start")
