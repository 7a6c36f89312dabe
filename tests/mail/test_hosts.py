"""Which addresses a mailbox may use."""

import socket
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db.domain.errors import MailboxUnusable
from db.domain.mailboxes import MailServer, Security, Service
from db.services.mail import mailboxes
from mcp_server.mail import hosts
from mcp_server.mail.access import Access
from mcp_server.process.app import App
from tests.support.campaigns import NOW
from tests.support.reading import ANN
from tests.support.sending import connect

PRIVATE = (
    *("127.0.0.1", "10.0.0.8", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1%eth0"),
    *("fd00::1", "fec0::1", "feff::1", "ff02::1", "2001:db8::1", "64:ff9b:1::808:808"),
    *("::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1", "2002:7f00:1::"),
)
PUBLIC = (
    *("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
    *("64:ff9b:0:1::a00:1", "2003::1"),
)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_a_network_of_ones_own_are_private(address: str) -> None:
    assert hosts.is_private(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert not hosts.is_private(address)


class Peer:
    """A connection to an address that no test can reach."""

    def __init__(self, address: str) -> None:
        self.address = address

    def getpeername(self) -> tuple[str, int]:
        return self.address, 587

    def close(self) -> None:
        pass


@pytest.fixture
def peer() -> Generator[socket.socket]:
    """A connection to loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        yield connection


@pytest.mark.parametrize("allow_private", [True, False])
def test_a_password_goes_nowhere_public_in_the_clear(allow_private: bool) -> None:
    """Also where the name led to a private address when it was checked."""
    public: socket.socket = Peer("8.8.8.8")  # type: ignore[assignment]
    server = MailServer("mail.example.com", 587, Security.NONE)
    with pytest.raises(MailboxUnusable, match="public address now"):
        hosts.check_peer(public, server, allow_private=allow_private)
    hosts.check_peer(public, MailServer("mail.example.com", 587, Security.STARTTLS), allow_private=allow_private)


def test_private_addresses_are_for_those_who_allow_them(peer: socket.socket) -> None:
    server = MailServer("mail.example.com", 587, Security.NONE)
    hosts.check_peer(peer, server, allow_private=True)
    with pytest.raises(MailboxUnusable, match="private address now"):
        hosts.check_peer(peer, server, allow_private=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_mail_of_a_simulated_time_stays_on_this_machine(address: str) -> None:
    server = MailServer("mail.example.com", 587, Security.STARTTLS)
    here: socket.socket = Peer(address)  # type: ignore[assignment]
    hosts.check_peer(here, server, allow_private=True, only_loopback=True)
    for elsewhere in ("8.8.8.8", "10.0.0.1", "fe80::1%eth0", "2001:4860:4860::8888"):
        other: socket.socket = Peer(elsewhere)  # type: ignore[assignment]
        with pytest.raises(MailboxUnusable, match="loopback addresses alone"):
            hosts.check_peer(other, server, allow_private=True, only_loopback=True)


@pytest.mark.parametrize("service", list(Service))
def test_a_simulated_time_keeps_both_services_on_this_machine(
    make_app: Callable[..., App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    (tmp_path / "clock").write_text(NOW.isoformat())
    files = {"mailbox_key_file": tmp_path / "mailbox.key", "clock_file": tmp_path / "clock"}
    app = make_app(allow_private_hosts=True, **files)
    connect(app, 587, 993)
    access = Access.of(app, app.run("look", partial(mailboxes.find, mailbox=ANN)))

    def elsewhere(*_: Any, **__: Any) -> Peer:
        return Peer("10.0.0.1")

    monkeypatch.setattr(socket, "create_connection", elsewhere)
    opened = access.smtp if service is Service.SMTP else access.imap
    with pytest.raises(MailboxUnusable, match="loopback addresses alone"), opened():
        pass
