"""Looks up records of domains, each once, by the machine's resolver or by the one of SALES_AUTOMATION_DNS_SERVER."""

from collections.abc import Sequence
from typing import Final

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from db.domain.errors import Refused

ANSWER_SECONDS: Final = 4.0
_RECORDS_MOST: Final = 100
_CHARACTERS_MOST: Final = 4_096


class NoAnswer(Refused):
    """The resolver gave no answer, which says nothing of the domain."""


class Resolver:
    """Asks for records. Once the server has failed to answer, every further question fails at once.

    server: host and port of a resolver; None for the machine's own. seconds: how long an answer may take. is_silent:
    whether it failed to answer.
    """

    def __init__(self, server: tuple[str, int] | None, *, seconds: float = ANSWER_SECONDS) -> None:
        self._server = server
        self._seconds = seconds
        self.is_silent = False
        self._resolver: dns.resolver.Resolver | None = None
        self._known: dict[tuple[str, dns.rdatatype.RdataType], Sequence[object]] = {}

    def texts(self, name: str) -> Sequence[str]:
        """Returns the TXT records of a name, each in one piece; none if there is no such name. NoAnswer if it can't be
        found out."""
        records = self._ask(name, dns.rdatatype.TXT)
        return [
            b"".join(record.strings).decode("utf-8", "replace")[:_CHARACTERS_MOST]
            for record in records
            if isinstance(record, TXT)
        ]

    def mail_hosts(self, name: str) -> Sequence[str]:
        """Returns the hosts in the MX records of a name, without their last dot, the preferred first; none if it has no
        such record. A domain that takes no mail has an empty one. NoAnswer as in `texts`."""
        found = [record for record in self._ask(name, dns.rdatatype.MX) if isinstance(record, MX)]
        found.sort(key=lambda record: record.preference)
        return [record.exchange.to_text(omit_final_dot=True).removesuffix(".") for record in found]

    def has_address(self, name: str) -> bool:
        """Returns whether a name has an address: without an MX record its mail goes there (RFC 5321, 5.1)."""
        return bool(self._ask(name, dns.rdatatype.A)) or bool(self._ask(name, dns.rdatatype.AAAA))

    def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> Sequence[object]:
        if (name, kind) in self._known:
            return self._known[name, kind]
        if self.is_silent:
            raise NoAnswer("The resolver does not answer. Check the network, and SALES_AUTOMATION_DNS_SERVER.")
        try:
            resolver = self._resolver = self._resolver or self._made()
            answer = resolver.resolve(name, kind, search=False, lifetime=self._seconds)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return self._known.setdefault((name, kind), ())
        except (dns.exception.SyntaxError, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return ()  # no name that could have records, as in a record that somebody wrote wrongly
        except (dns.exception.DNSException, OSError) as error:
            self.is_silent = isinstance(error, dns.exception.Timeout | dns.resolver.NoResolverConfiguration)
            raise NoAnswer(
                f"The resolver gave no answer on {name}. Try again in a minute; check the network, and "
                "SALES_AUTOMATION_DNS_SERVER."
            ) from None
        return self._known.setdefault((name, kind), list(answer)[:_RECORDS_MOST])

    def _made(self) -> dns.resolver.Resolver:
        if self._server is None:
            return dns.resolver.Resolver()
        host, port = self._server
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [host]
        resolver.port = port
        return resolver
