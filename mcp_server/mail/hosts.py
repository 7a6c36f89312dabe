"""Decides which hosts a mailbox may use. A tool must not make this server connect to hosts of its own network."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from db.domain.errors import InvalidInput, MailboxUnusable
from db.domain.mailboxes import MailServer, Security

_ALLOW: Final = "set SALES_AUTOMATION_ALLOW_PRIVATE_HOSTS=true where this is your own network"


def check(server: MailServer, *, allow_private: bool) -> None:
    """Raises InvalidInput if a mailbox may not use this server: it has a private address and these are not allowed, or
    it is used without TLS and has a public address. An unknown host is accepted, since it may be found later."""
    addresses = _addresses(server.host)
    private = [address for address in addresses if is_private(address)]
    if private and not allow_private:
        raise InvalidInput(f"{server.host} is a private address: no mailbox may live there. Name another, or {_ALLOW}.")
    if server.security is Security.NONE and not (allow_private and len(private) == len(addresses)):
        raise InvalidInput(
            f"security none would send the password of {server.host} in the clear. Use starttls or tls; none is for "
            "private addresses alone, where SALES_AUTOMATION_ALLOW_PRIVATE_HOSTS allows these."
        )


def check_peer(
    connection: socket.socket, server: MailServer, *, allow_private: bool, only_loopback: bool = False
) -> None:
    """Raises MailboxUnusable if a mailbox may not use the address that a connection goes to, by the rules of `check`: a
    name may resolve differently than when it was checked. Called before anything is sent.

    only_loopback: this machine's own addresses alone, as where the time is simulated.
    """
    peer = str(connection.getpeername()[0])
    if only_loopback and not _is_loopback(peer):
        raise MailboxUnusable(
            f"{server.host} is another machine. While SALES_AUTOMATION_CLOCK_FILE simulates the time, mail goes to, "
            "and is read from, servers at loopback addresses alone: unset it, or name a server of this machine."
        )
    is_inside = is_private(peer)
    if is_inside and not allow_private:
        raise MailboxUnusable(f"{server.host} leads to a private address now. Correct its name, or {_ALLOW}.")
    if server.security is Security.NONE and not is_inside:
        raise MailboxUnusable(
            f"{server.host} leads to a public address now, where security none would send the password in the clear. "
            "Use starttls or tls, or correct its name."
        )


def is_private(address: str) -> bool:
    """Returns whether an address is not public: private, loopback, link-local, site-local, or reserved. An address of
    IPv6 that carries one of IPv4 is as that one."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        carried = _carried(parsed)
        if carried is None:
            return not parsed.is_global or parsed.is_multicast or parsed.is_site_local or parsed in _LOCAL_NAT64
        parsed = carried
    return not parsed.is_global or parsed.is_multicast


def _is_loopback(address: str) -> bool:
    parsed = ip_address(address.partition("%")[0])
    carried = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (carried or parsed).is_loopback


_CARRYING: Final = tuple(
    IPv6Network(network) for network in ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "::/96")
)
"""Networks whose addresses end with one of IPv4: mapped, translated, NAT64, compatible."""
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in _CARRYING):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]
