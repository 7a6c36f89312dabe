"""What check_mailbox says of the DNS of a mailbox's domain, asked of a real DNS server."""

from collections.abc import Generator, Sequence
from contextlib import suppress
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Any

import pytest
from imapclient import IMAPClient  # pyright: ignore[reportMissingTypeStubs]  it has none
from mcp.client import Client

from db.domain.mail import authentication
from mcp_server.mail import domain_checks
from mcp_server.mail.dns import Resolver as Asking
from tests.support.dns import Resolver, dns_server
from tests.support.mail_servers import imap_server, smtp_server
from tests.support.server import call

ANN = "ann@example.com"
DOMAIN = "example.com"
SPF, DMARC = f"{DOMAIN}", f"_dmarc.{DOMAIN}"
KEY = f"v=DKIM1; k=rsa; p={'A' * 400}"
PASSED = "mx.example.net; spf=pass smtp.mailfrom=example.com; dkim=pass header.i=@mail.example.com header.s=x"


@pytest.fixture
def own() -> Generator[Resolver]:
    """A resolver that knows a domain in which all is well."""
    with dns_server() as resolver:
        resolver.texts = {
            SPF: ["other=1", "v=spf1 include:_spf.example.net ip4:192.0.2.1 -all"],
            "_spf.example.net": ["v=spf1 ip4:198.51.100.0/24 ~all"],
            DMARC: ["v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"],
            f"selector1._domainkey.{DOMAIN}": [KEY],
        }
        resolver.mail_hosts = {DOMAIN: ["mx1.example.net", "mx2.example.net"]}
        yield resolver


def checked(resolver: Resolver, domain: str = DOMAIN, results: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Returns check -> its status, and all that is said."""
    found = domain_checks.run(Asking(("127.0.0.1", resolver.port)), domain, results)
    return {check.name: (check.status.value, f"{check.detail} {check.advice or ''}") for check in found}


def test_a_domain_in_which_all_is_well(own: Resolver) -> None:
    found = checked(own)
    assert {name: status for name, (status, _) in found.items()} == dict.fromkeys(("mx", "spf", "dkim", "dmarc"), "ok")
    assert "mx1.example.net" in found["mx"][1]
    assert "quarantine" in found["dmarc"][1]


def test_a_domain_that_publishes_nothing(own: Resolver) -> None:
    own.texts, own.mail_hosts = {}, {}
    found = checked(own)
    assert {name: status for name, (status, _) in found.items()} == {
        "mx": "failed",
        "spf": "failed",
        "dkim": "warning",
        "dmarc": "failed",
    }
    assert "v=spf1 include:HOST -all" in found["spf"][1]
    assert '"v=DMARC1; p=none"' in found["dmarc"][1]


@pytest.mark.parametrize(
    ("record", "status", "said"),
    [
        (["v=spf1 -all", "v=spf1 ~all"], "failed", "several"),
        (["v=spf1 includes:_spf.example.net -all"], "failed", "can't be read"),
        (["v=spf1 +all"], "warning", "everybody"),
        (["v=spf1 all"], "warning", "everybody"),
        (["v=spf1 ip4:192.0.2.1"], "warning", "does not say"),
        (["v=spf1 " + " ".join(f"a:h{number}.example.net" for number in range(11)) + " -all"], "failed", "10 lookups"),
        (["v=spf1 " + " ".join(f"a:h{number}.example.net" for number in range(10)) + " -all"], "ok", "publishes"),
        (["v=spf1 include:deep0.example.net -all"], "failed", "10 lookups"),
        (["v=spf1 include:example.com -all"], "ok", "publishes"),
        (["v=spf1 redirect=_spf.example.net"], "ok", "publishes"),
        (["v=spf10 -all"], "failed", "no SPF record"),
        (["V=SPF1 MX -ALL"], "ok", "publishes"),
    ],
)
def test_spf_records(own: Resolver, record: list[str], status: str, said: str) -> None:
    own.texts[SPF] = record
    for number in range(20):
        own.texts[f"deep{number}.example.net"] = [f"v=spf1 include:deep{number + 1}.example.net ~all"]
    found = checked(own)["spf"]
    assert (found[0], said in found[1]) == (status, True), found


def test_a_record_that_includes_without_end_is_not_followed_without_end(own: Resolver) -> None:
    for number in range(200):
        includes = " ".join(f"include:w{number * 3 + other}.example.net" for other in (1, 2, 3))
        own.texts[f"w{number}.example.net"] = [f"v=spf1 {includes} -all"]
    own.texts[SPF] = ["v=spf1 include:w0.example.net -all"]
    assert checked(own)["spf"][0] == "failed"
    assert len(own.asked) < 60


@pytest.mark.parametrize(
    ("domain", "place", "record", "status", "said"),
    [
        ("example.com", "_dmarc.example.com", ["v=DMARC1; p=reject"], "ok", "reject"),
        ("mail.example.com", "_dmarc.example.com", ["v=DMARC1; p=none; sp=reject"], "ok", "reject"),
        ("mail.example.com", "_dmarc.example.com", ["v=DMARC1;p=none"], "ok", "none"),
        ("example.com", "_dmarc.example.com", ["v=DMARC1; p=none", "v=DMARC1; p=reject"], "failed", "several"),
        ("example.com", "_dmarc.example.com", ["v=DMARC1; rua=mailto:x@example.com"], "failed", "no policy"),
        ("example.com", "_dmarc.example.com", ["v=DMARC1; p=maybe"], "failed", "no policy"),
        ("example.com", "_dmarc.com", ["v=DMARC1; p=reject"], "failed", "no DMARC record"),
        (".".join("a" * 60) + ".example.com", "_dmarc.example.com", ["v=DMARC1; p=none"], "ok", "none"),
    ],
)
def test_dmarc_records(own: Resolver, domain: str, place: str, record: list[str], status: str, said: str) -> None:
    own.texts.pop(DMARC)
    own.texts[place] = record
    found = checked(own, domain)["dmarc"]
    assert (found[0], said in found[1]) == (status, True), found
    assert len([name for name, _ in own.asked if name.startswith("_dmarc.")]) <= 9


@pytest.mark.parametrize(
    ("hosts", "has_address", "status", "said"),
    [
        (["."], True, "failed", "takes no mail"),
        ([], False, "failed", "no MX"),
        ([], True, "warning", "goes to its address"),
        (["mx.example.net"], False, "ok", "mx.example.net"),
    ],
)
def test_mx_records(own: Resolver, hosts: list[str], has_address: bool, status: str, said: str) -> None:
    own.mail_hosts[DOMAIN] = hosts
    own.addresses = {DOMAIN: "192.0.2.1"} if has_address else {}
    found = checked(own)["mx"]
    assert (found[0], said in found[1]) == (status, True), found


def test_a_key_that_was_taken_back_is_none(own: Resolver) -> None:
    own.texts[f"selector1._domainkey.{DOMAIN}"] = ["v=DKIM1; p="]
    assert checked(own)["dkim"][0] == "warning"


@pytest.mark.parametrize(
    ("results", "passes"),
    [
        (PASSED, True),
        ("mx.example.net; dkim=pass (2048-bit key) header.d=example.com header.s=x", True),
        ("mx.example.net; dkim=pass header.d=example.net; dkim=fail header.d=example.com", False),
        ("mx.example.net; dkim=pass header.d=notexample.com", False),
        ("mx.example.net; dkim=pass header.d=com", False),
        ("mx.example.net; dkim=none header.d=example.com", False),
        ("mx.example.net; dkim=pass header.i=example.com@evil.example.net", False),
    ],
)
def test_signatures_of_mails_that_came_in(results: str, passes: bool) -> None:
    assert authentication.passed_dkim(results, DOMAIN) is passes


def test_a_resolver_that_fails_only_warns(own: Resolver) -> None:
    own.fails = {DOMAIN, DMARC}
    found = checked(own)
    assert [found[name][0] for name in ("mx", "spf", "dkim", "dmarc")] == ["warning", "warning", "ok", "warning"]
    assert "SALES_AUTOMATION_DNS_SERVER" in found["spf"][1]


def test_a_resolver_that_is_silent_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_server.mail.dns.ANSWER_SECONDS", 0.2)
    with socket(AF_INET, SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        found = domain_checks.run(Asking(("127.0.0.1", silent.getsockname()[1])), DOMAIN)
        silent.settimeout(0)
        questions = 0
        with suppress(BlockingIOError):
            while silent.recv(4_096):
                questions += 1
    assert {check.status.value for check in found} == {"warning"}
    assert questions < 5


def dkim_of(checks: list[dict[str, Any]]) -> str:
    return next(check["status"] for check in checks if check["name"] == "dkim")


@pytest.mark.anyio
async def test_check_mailbox_asks_the_dns_and_looks_for_a_signed_mail(
    client: Client, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALES_AUTOMATION_MAILBOX_PASSWORD_ANN_EXAMPLE_COM", "secret")
    monkeypatch.setattr(resolver, "texts", {SPF: ["v=spf1 -all"], DMARC: ["v=DMARC1; p=none"]})
    with smtp_server({ANN: "secret"}) as smtp, imap_server(ANN, "secret") as imap:
        await call(
            client,
            "connect_mailbox",
            address=ANN,
            smtp={"host": "127.0.0.1", "port": smtp.port, "security": "none"},
            imap={"host": "127.0.0.1", "port": imap.port, "security": "none"},
        )
        unsigned = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
        with IMAPClient("127.0.0.1", imap.port, ssl=False) as connection:
            inbox: Any = connection
            inbox.login(ANN, "secret")
            forged = f"Authentication-Results: mx.example.net; dkim=fail\r\nAuthentication-Results: {PASSED}\r\n"
            inbox.append("INBOX", f"{forged}From: Ann <{ANN}>\r\nSubject: 1\r\n\r\nHello\r\n".encode())
            forged_alone = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
            folded = PASSED.replace("; dkim", ";\r\n\tdkim")
            inbox.append(
                "INBOX",
                f"Authentication-Results: {folded}\r\nFrom: Ann <{ANN}>\r\nSubject: 2\r\n\r\nHello\r\n".encode(),
            )
        signed = (await call(client, "check_mailbox", mailbox=ANN))["checks"]
    names = [check["name"] for check in signed]
    assert names == ["smtp_login", "imap_login", "sent_folder", "mx", "spf", "dkim", "dmarc"]
    assert [dkim_of(checks) for checks in (unsigned, forged_alone, signed)] == ["warning", "warning", "ok"]
    assert {check["name"]: check["status"] for check in signed}["spf"] == "ok"
