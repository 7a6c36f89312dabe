"""Enrolling names the domains that take no mail, and waits for no resolver that does not answer."""

import socket
from collections.abc import Callable, Generator
from uuid import UUID

import pytest
from mcp.client import Client

from db.postgres.database import Database
from mcp_server.jobs.worker import Worker
from mcp_server.mail import recipient_domains
from mcp_server.process.app import App
from tests.support.dns import Resolver
from tests.support.embedded import eventually
from tests.support.outgoing import ANN, connect, running
from tests.support.server import call, new_campaign

pytestmark = pytest.mark.anyio

DEAF, HEARING = "deaf.example", "hearing.example"


@pytest.fixture(autouse=True)
def records(resolver: Resolver) -> Generator[None]:
    resolver.mail_hosts = {DEAF: ["."], HEARING: ["mx.hearing.example."]}
    resolver.asked.clear()
    yield
    resolver.mail_hosts = {}
    resolver.fails = set()


async def warnings(client: Client, *emails: str) -> list[str]:
    campaign_id = (await new_campaign(client, people=0))["campaign_id"]
    contacts = [{"email": email} for email in emails]
    answer = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    assert answer["enrolled"] == len(emails)
    return answer.get("warnings") or []


async def test_domains_that_take_no_mail_are_named(client: Client) -> None:
    (warning,) = await warnings(client, f"a@{DEAF}", f"b@{DEAF}", f"c@{HEARING}", "d@nowhere.example")
    assert warning.startswith(f"null_mx: 2 of them have an address at a domain that takes no mail: {DEAF}.")


async def test_who_is_enrolled_by_their_id_is_told_too(client: Client) -> None:
    found = await call(
        client, "upsert_contacts", contacts=[{"email": f"A@{DEAF}"}, {"email": f"b@{HEARING}"}], detail="full"
    )
    contacts = [{"contact_id": row["contact_id"]} for row in found["results"]]
    campaign_id = (await new_campaign(client, people=0))["campaign_id"]
    answer = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    assert [warning[:35] for warning in answer["warnings"]] == ["null_mx: 1 of them has an address a"]


async def test_an_import_that_enrolls_names_them_in_its_notes(
    client: Client, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.tools.imports._ROWS", 2)
    csv = "\n".join(["email", f"a@{DEAF}", f"b@{HEARING}", f"c@{DEAF}", "not an address", f"d@{DEAF}"])
    campaign_id = (await new_campaign(client, people=0))["campaign_id"]
    (note,) = (await call(client, "import_contacts", csv=csv, campaign_id=campaign_id))["notes"]
    assert note.startswith(f"null_mx: 3 of them have an address at a domain that takes no mail: {DEAF}.")
    assert not (await call(client, "import_contacts", csv=csv, campaign_id=campaign_id)).get("notes")
    resolver.asked.clear()
    assert not (await call(client, "import_contacts", csv=csv)).get("notes")
    assert resolver.asked == []


def test_so_does_an_import_by_a_worker(app: App, database: Database) -> None:
    csv = "\n".join(["email", f"a@{DEAF}", f"b@{HEARING}"])
    given = {"csv": csv, "campaign_id": str(running(database, people=0))}
    job = app.local().jobs.create(type="import", parameters=given, now=app.clock())
    worker = Worker(app, poll_seconds=0.05)
    worker.start()
    try:
        eventually(lambda: app.local().jobs.get(job.id, now=app.clock()).result is not None, "the import is done")
    finally:
        worker.stop()
    done = app.local().jobs.get(job.id, now=app.clock())
    assert "null_mx: 1 of them has an address at a domain that takes no mail" in str(done.result)


async def test_a_domain_is_asked_for_once_and_hosts_of_free_addresses_never(client: Client, resolver: Resolver) -> None:
    assert await warnings(client, f"a@{HEARING}", f"b@{HEARING}", "c@gmail.com") == []
    assert resolver.asked == [(HEARING, "MX")]


async def test_of_many_domains_200_are_asked_for(client: Client, resolver: Resolver) -> None:
    assert await warnings(client, *(f"p@d{number}.example" for number in range(250))) == []
    assert len(set(resolver.asked)) == 200


async def test_who_is_not_enrolled_is_not_told(client: Client) -> None:
    campaign_id = (await new_campaign(client, people=0))["campaign_id"]
    contacts = [{"email": f"a@{DEAF}"}, {"email": f"not an address@{DEAF}"}]
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    again = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    assert (again["already_enrolled"], again["invalid"]) == (1, 1)
    assert not again.get("warnings")


async def test_a_domain_whose_servers_fail_says_nothing_of_the_others(client: Client, resolver: Resolver) -> None:
    resolver.fails = {HEARING}
    (warning,) = await warnings(client, f"a@{DEAF}", f"b@{HEARING}")
    assert DEAF in warning


async def test_a_resolver_without_an_answer_is_left_alone_for_a_while(
    app: App, client: Client, resolver: Resolver
) -> None:
    resolver.fails = {DEAF}
    assert await warnings(client, f"a@{DEAF}") == []
    asked = len(resolver.asked)
    resolver.fails = set()
    assert await warnings(client, f"b@{DEAF}") == []
    assert len(resolver.asked) == asked
    app.resolver_rests_until = 0.0
    assert await warnings(client, f"c@{DEAF}") != []


def test_an_answer_is_waited_for_no_longer_than_a_moment(make_app: Callable[..., App]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        app = make_app(dns_server=f"127.0.0.1:{silent.getsockname()[1]}")
        assert recipient_domains.without_mail(app, campaign_id=UUID(int=0), emails=[f"a@{DEAF}"]) == frozenset()
        assert app.resolver_rests_until > 0
        assert silent.recv(512)


def test_without_a_resolver_of_its_own_only_campaigns_with_mailboxes_ask(
    make_app: Callable[..., App], database: Database
) -> None:
    app = make_app()
    connect(database, ANN)
    assert recipient_domains.is_to_ask(app, running(database, ANN, people=0))
    assert not recipient_domains.is_to_ask(app, running(database, people=0))
    assert not recipient_domains.is_to_ask(app, UUID(int=0))
