"""A DNS server on loopback, with the records that a test gives it."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dnslib as untyped  # pyright: ignore[reportMissingTypeStubs]  it has none
from dnslib.server import BaseResolver, DNSServer  # pyright: ignore[reportMissingTypeStubs]  it has none

dnslib: Any = untyped

_LONGEST_PART = 255


@dataclass
class Resolver(BaseResolver):
    """texts: name -> its TXT records. mail_hosts: name -> its MX hosts, "." for none. addresses: name -> IPv4 address.

    fails: names that it answers with a failure. asked: what it was asked for, as name and type.
    """

    texts: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    mail_hosts: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    addresses: dict[str, str] = field(default_factory=dict[str, str])
    fails: set[str] = field(default_factory=set[str])
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    port: int = 0

    def resolve(self, request: Any, handler: object) -> Any:  # noqa: ARG002  the library's own signature
        name, kind = str(request.q.qname).rstrip(".").lower(), str(dnslib.QTYPE[request.q.qtype])
        self.asked.append((name, kind))
        reply: Any = request.reply()
        if name in self.fails:
            reply.header.rcode = dnslib.RCODE.SERVFAIL
            return reply
        records: Mapping[str, list[Any]] = {
            "TXT": [dnslib.TXT([text[at : at + _LONGEST_PART] for at in range(0, len(text), _LONGEST_PART)])
                    for text in self.texts.get(name, ())],
            "MX": [dnslib.MX(host, 10 * number) for number, host in enumerate(self.mail_hosts.get(name, ()))],
            "A": [dnslib.A(self.addresses[name])] if name in self.addresses else [],
        }  # fmt: skip
        for record in records.get(kind, []):
            reply.add_answer(dnslib.RR(request.q.qname, request.q.qtype, rdata=record, ttl=1))
        if not any(name in known for known in (self.texts, self.mail_hosts, self.addresses)):
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        return reply


def _nothing(*_: object) -> None:
    return None


class _Silent:
    """A logger that says nothing."""

    def __getattr__(self, name: str) -> object:
        return _nothing


@contextmanager
def dns_server() -> Generator[Resolver]:
    resolver = Resolver()
    server: Any = DNSServer(resolver, address="127.0.0.1", port=0, logger=_Silent())
    resolver.port = server.server.server_address[1]
    server.start_thread()
    try:
        yield resolver
    finally:
        server.stop()
        server.server.server_close()
