"""Suppressions and erasure as clients see them."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client
from sqlalchemy import text

from db.domain.errors import StoreUnavailable
from db.postgres.database import Database
from db.postgres.json import canonical
from db.services.ops import idempotency
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import NOW, call, new_campaign, refusal
from tests.support.traces import everything

pytestmark = pytest.mark.anyio

EMAIL = "zoë.quux@bücher.example"
LINK = "https://www.linkedin.com/in/zoe-quux"
PERSON = {
    "email": EMAIL,
    "linkedin_url": LINK,
    "first_name": "Zoë",
    "last_name": "Quux",
    "company": "SecretCorp",
    "attributes": {"nick": "plover"},
}
TRACES = ("quux", "zoë", "bücher", "secretcorp", "plover")
SOON = "2026-11-02T10:00:00Z"


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app()


@pytest.fixture
async def own(app: App) -> Any:
    """A client of the server on `app`."""
    async with Client(build_server(app)) as connected:
        yield connected


def bytes_of(home: Path) -> str:
    return "\n".join(path.read_bytes().decode(errors="replace") for path in home.glob("*.db*")).lower()


async def enrolled_as(client: Client, campaign_id: str, *people: dict[str, Any]) -> list[str]:
    answer = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=list(people), detail="full")
    return [row["status"] for row in answer["results"]]


async def test_a_suppression_has_an_end_that_is_shown_and_must_lie_ahead(client: Client) -> None:
    for past in ("2026-11-02T09:00:00Z", "2026-11-02T09:59:59+01:00"):
        assert "future" in await refusal(client, "suppress", email="a@example.com", expires_at=past)
    text = await refusal(client, "suppress", email="a@example.com", reason="bounced", expires_at=SOON)
    assert "reason manual" in text
    answer = await call(client, "suppress", email="a@example.com", expires_at=SOON, source="holidays")
    assert answer["suppression"]["expires_at"] == SOON
    assert [row["source"] for row in (await call(client, "list_suppressions", state="active"))["suppressions"]] == [
        "holidays"
    ]
    assert (await call(client, "list_suppressions", state="expired"))["suppressions"] == []
    assert "is_erased" not in answer["suppression"]


async def test_an_unsubscribe_is_neither_made_temporary_nor_lifted_by_accident(client: Client) -> None:
    scene = await new_campaign(client, people=1, start=True)
    await call(client, "update_enrollment", enrollment_id=scene["enrollment_ids"][0], action="unsubscribe")
    person = {"email": "person0@example.com"}
    assert "for good, as unsubscribed" in await refusal(client, "suppress", **person, expires_at=SOON)
    assert (await call(client, "suppress", **person))["suppression"]["reason"] == "unsubscribed"
    text = await refusal(client, "unsuppress", **person)
    assert "asked not to be written to" in text
    assert "has_new_consent=true" in text
    await call(client, "suppress", domain="example.com")
    answer = await call(client, "unsuppress", **person, has_new_consent=True)
    assert answer["lifted"]["email"] == "person0@example.com"
    assert [row["domain"] for row in answer["still_suppressed_by"]] == ["example.com"]
    assert (await call(client, "unsuppress", domain="example.com"))["still_suppressed_by"] == []
    other = await new_campaign(client)
    assert await enrolled_as(client, scene["campaign_id"], person) == ["already_enrolled"]
    assert await enrolled_as(client, other["campaign_id"], person) == ["enrolled"]
    shown = await call(client, "get_enrollment", enrollment_id=scene["enrollment_ids"][0])
    assert shown["enrollment"]["status"] == "unsubscribed"


async def test_a_list_of_any_kind_is_suppressed_and_its_bad_addresses_are_told(client: Client) -> None:
    scene = await new_campaign(client, people=3, start=True)
    await call(client, "update_enrollment", enrollment_id=scene["enrollment_ids"][2], action="unsubscribe")
    given: list[Any] = [
        "Ann <Person0@Example.com>",
        "@xn--bcher-kva.example",
        "linkedin.com/in/zoe-quux/",
        "no address at all",
        "person2@example.com",
        7,
        "a@b@c",
        "https://www.linkedin.com/company/acme",
        "person0@example.com",
    ]
    answer = await call(client, "suppress", addresses=given, source="a list", idempotency_key="k")
    assert answer == await call(client, "suppress", addresses=given, source="a list", idempotency_key="k")
    counts = {name: value for name, value in answer.items() if name not in ("results", "undo")}
    assert answer["undo"].splitlines()[0] == 'unsuppress(email="person0@example.com")'
    assert counts == {
        "suppressed": 3, "already_suppressed": 2, "refused": 0, "invalid": 4, "stopped_enrollments": 1,
    }  # fmt: skip
    assert [(row["index"], row["status"]) for row in answer["results"]] == [(n, "invalid") for n in (3, 5, 6, 7)]
    assert all(row["reason"] for row in answer["results"])
    held = (await call(client, "list_suppressions"))["suppressions"]
    assert {row.get("email") or row.get("domain") or row["linkedin_url"] for row in held} == {
        "person0@example.com", "person2@example.com", "bücher.example", LINK,
    }  # fmt: skip
    ended = await call(client, "suppress", addresses=["person2@example.com", "new@example.com"], expires_at=SOON)
    assert [(row["index"], row["status"]) for row in ended["results"]] == [(0, "refused")]
    assert "not both" in await refusal(client, "suppress", addresses=["a@example.com"], email="b@example.com")


async def test_one_campaign_leaves_somebody_out_and_tells_so(client: Client) -> None:
    here, there = await new_campaign(client, people=2, start=True), await new_campaign(client, start=True)
    await enrolled_as(client, there["campaign_id"], {"email": "person0@example.com"}, {"email": "person1@example.com"})
    first = await call(client, "claim_due_actions", campaign_id=here["campaign_id"], idempotency_key="c")
    only = {"campaign_id": here["campaign_id"]}
    alone = await call(client, "suppress", email="person0@example.com", reason="unsubscribed", **only)
    assert alone["stopped_enrollments"] == 1
    assert (alone["suppression"]["email"], alone["suppression"]["campaign_id"]) == (
        "person0@example.com", here["campaign_id"],
    )  # fmt: skip
    many = await call(client, "suppress", addresses=["person0@example.com", "example.org", LINK], **only)
    assert (many["suppressed"], many["already_suppressed"], many["stopped_enrollments"]) == (2, 1, 0)
    people = [{"email": "a@example.org"}, {"linkedin_url": LINK}, {"email": "b@example.com"}]
    answer = await call(client, "enroll_contacts", contacts=people, **only)
    assert [row["reason"] for row in answer["results"]] == ["excluded from this campaign: manual"] * 2
    told = await call(client, "explain_due", enrollment_id=here["enrollment_ids"][0])
    assert "excluded from this campaign (unsubscribed)" in [hold["detail"] for hold in told["holds"]][-1]
    again = await call(client, "claim_due_actions", campaign_id=here["campaign_id"], idempotency_key="c")
    assert [len(first["actions"]), len(again["actions"])] == [2, 1]
    shown = await call(client, "preview_action", enrollment_id=here["enrollment_ids"][0])
    assert shown["suppressed"] == "unsubscribed"
    assert await enrolled_as(client, there["campaign_id"], *people) == ["enrolled"] * 3
    due = await call(client, "claim_due_actions", campaign_id=there["campaign_id"])
    assert {action["contact"]["email"] for action in due["actions"]} >= {"person0@example.com", "a@example.org"}

    assert (await call(client, "list_suppressions"))["suppressions"] == []
    listed = (await call(client, "list_suppressions", search="EXAMPLE", **only))["suppressions"]
    assert sorted(row.get("email") or row["domain"] for row in listed) == ["example.org", "person0@example.com"]
    assert (await call(client, "list_suppressions", state="expired", **only))["suppressions"] == []
    assert "unsuppress lifts it" in await refusal(client, "suppress", domain="a.example", expires_at=SOON, **only)
    assert "has_new_consent" in await refusal(client, "unsuppress", email="person0@example.com", **only)
    lifted = await call(client, "unsuppress", domain="example.org", **only)
    assert (lifted["lifted"]["domain"], lifted["still_suppressed_by"]) == ("example.org", [])
    assert await enrolled_as(client, here["campaign_id"], people[0]) == ["enrolled"]


@pytest.mark.parametrize("tool", ["unsuppress", "erase_contact"])
async def test_exactly_one_target_is_given_and_the_unknown_is_told_where_to_look(client: Client, tool: str) -> None:
    assert "exactly one" in await refusal(client, tool)
    assert "exactly one" in await refusal(client, tool, email="a@example.com", linkedin_url=LINK)
    where = "list_suppressions" if tool == "unsuppress" else "find_contacts"
    assert where in await refusal(client, tool, email="a@example.com")
    if tool == "erase_contact":
        assert where in await refusal(client, tool, contact_id=str(uuid4()))


@pytest.mark.parametrize(
    "domain", ["bücher.example", "xn--bcher-kva.example", "@XN--BCHER-KVA.example.", "BÜCHER.example"]
)
@pytest.mark.parametrize("email", ["a@bücher.example", "a@xn--bcher-kva.example", "A@BÜCHER.Example"])
async def test_a_domain_is_one_in_unicode_and_in_punycode(client: Client, domain: str, email: str) -> None:
    scene = await new_campaign(client)
    answer = await call(client, "suppress", domain=domain)
    assert answer["suppression"]["domain"] == "bücher.example"
    people = [{"email": email}, {"email": "a@mail.bücher.example"}]
    assert await enrolled_as(client, scene["campaign_id"], *people) == ["suppressed", "enrolled"]
    await call(client, "unsuppress", domain="xn--bcher-kva.example")
    assert await enrolled_as(client, scene["campaign_id"], {"email": email}) == ["enrolled"]


async def test_a_person_is_erased_from_every_place(own: Client, app: App, database: Database, tmp_path: Path) -> None:
    scene = await new_campaign(own, people=2, start=True)
    arguments = {"campaign_id": scene["campaign_id"], "contacts": [PERSON], "idempotency_key": f"enrol {EMAIL}"}
    mine = (await call(own, "enroll_contacts", **arguments))["results"][0]
    other = await new_campaign(own, start=True)
    await enrolled_as(own, other["campaign_id"], {"contact_id": mine["contact_id"]})
    await call(own, "claim_due_actions", limit=50, idempotency_key="claim")
    event: dict[str, Any] = {"event_type": "bounced", "channel": "email", "step_number": 1}
    payload = {"metadata": {"bounce_type": "soft", "to": EMAIL, "name": "Zoë"}}
    await call(own, "record_event", event={**event, **payload, "enrollment_id": mine["enrollment_id"]})
    await call(own, "record_event", event={**event, **payload, "campaign_id": str(uuid4()), "email": EMAIL})
    await call(own, "create_job", type="enrichment", parameters={"contacts": [PERSON, {"email": "ada@example.com"}]})
    csv = f"email,last_name\n{EMAIL},Quux\nada@example.com,A\n"
    await call(own, "create_job", type="import", parameters={"csv": csv})
    await call(own, "cache_set", namespace="n", key="k", value=PERSON, ttl_seconds=60)
    before = await call(own, "get_metrics", campaign_id=scene["campaign_id"], group_by="step")
    assert all(trace in everything(database) for trace in TRACES)
    assert all(trace in bytes_of(tmp_path) for trace in ("quux", "plover"))

    answer = await call(own, "erase_contact", email="zoë.quux@xn--bcher-kva.example", idempotency_key="erase")
    assert answer["contact_id"] == mine["contact_id"]
    names = ("stopped_enrollments", "events", "orphaned_events", "kept_answers", "jobs", "cache_entries")
    assert {name: answer[name] for name in names} == dict(zip(names, (1, 1, 1, 2, 2, 1), strict=True))
    assert "quux" not in json.dumps(answer)
    for place in (everything(database), bytes_of(tmp_path)):
        assert [trace for trace in TRACES if trace in place] == []
    after = await call(own, "get_metrics", campaign_id=scene["campaign_id"], group_by="step")
    assert (after["totals"], after["groups"]) == (before["totals"], before["groups"])
    stopped = await call(own, "get_metrics", campaign_id=other["campaign_id"])
    assert stopped["enrollment_status"]["unsubscribed"] == stopped["enrolled"] == 1

    assert (await call(own, "find_contacts", search="quux"))["contacts"] == []
    (shown,) = (await call(own, "find_contacts", contact_id=mine["contact_id"], detail="full"))["contacts"]
    assert set(shown) == {"id", "erased_at"}
    assert (await call(own, "get_enrollment", enrollment_id=mine["enrollment_id"]))["enrollment"]["contact"] == shown
    text = await refusal(own, "claim_due_actions", limit=50, idempotency_key="claim")
    assert "Nothing was done now" in text
    assert await call(own, "erase_contact", email=EMAIL, idempotency_key="erase") == answer
    again = await call(own, "erase_contact", contact_id=mine["contact_id"])
    assert again["was_erased_before"]
    assert again["erased_at"] == answer["erased_at"] == NOW.isoformat().replace("+00:00", "Z")
    assert [trace for trace in TRACES if trace in everything(database)] == []


async def test_the_key_of_an_erasure_is_good_for_its_person_alone(client: Client, database: Database) -> None:
    await new_campaign(client, people=2)
    one, other = "person0@example.com", "person1@example.com"
    answer = await call(client, "erase_contact", email=one, idempotency_key="k")
    assert await call(client, "erase_contact", email=one, idempotency_key="k") == answer
    assert "another call" in await refusal(client, "erase_contact", email=other, idempotency_key="k")
    assert "another call" in await refusal(client, "create_template", name="T", type="email", idempotency_key="k")
    (kept,) = (await call(client, "find_contacts"))["contacts"]
    assert kept["email"] == other


async def test_no_hash_of_a_call_under_a_key_tells_whom_it_named(client: Client, database: Database) -> None:
    event = {"event_type": "opened", "channel": "email", "campaign_id": str(uuid4()), "email": EMAIL}
    await call(client, "cache_set", namespace="n", key="k", value=EMAIL, ttl_seconds=60, idempotency_key="c")
    await call(client, "record_events", events=[event], idempotency_key="r")
    await call(client, "erase_contact", email=EMAIL, idempotency_key="e")
    with database.transaction("look") as session:
        kept = set(session.scalars(text("SELECT request_hash FROM idempotency_keys")))
        with_a_key = idempotency.fingerprint(session, {"email": EMAIL, "contact_id": None, "linkedin_url": None})
    plain: list[dict[str, Any]] = [
        {"namespace": "n", "key": "k", "value": EMAIL, "ttl_seconds": 60},
        {"email": EMAIL, "contact_id": None, "linkedin_url": None},
    ]
    assert with_a_key in kept
    assert not kept & {sha256(canonical(address)).hexdigest() for address in plain}


@pytest.mark.parametrize("key", ["Erase PERSON0@example.com", "person0%40example.com", "linkedin.com/in/Ann-Doe?x=1"])
async def test_a_key_that_names_the_person_is_refused_for_an_erasure(client: Client, key: str) -> None:
    person = {"email": "person0@example.com", "linkedin_url": "https://www.linkedin.com/in/ann-doe"}
    made = await call(client, "upsert_contacts", contacts=[person])
    for whom in ({"contact_id": made["results"][0]["contact_id"]}, *({name: one} for name, one in person.items())):
        assert "Use another key" in await refusal(client, "erase_contact", **whom, idempotency_key=key)
    (kept,) = (await call(client, "find_contacts", detail="full"))["contacts"]
    assert (kept["email"], kept["linkedin_url"]) == tuple(person.values())


@pytest.mark.parametrize(
    ("tool", "arguments", "others"),
    [("replay_events", {"provider": "sendgrid"}, {"provider": "mailgun"}), ("run_maintenance", {}, None)],
)
async def test_what_works_in_steps_keeps_its_key(
    client: Client, tool: str, arguments: dict[str, Any], others: dict[str, Any] | None
) -> None:
    key = {"idempotency_key": "sendgrid, second try"}
    answer = await call(client, tool, **arguments, **key)
    assert await call(client, tool, **arguments, **key) == answer
    if others is not None:
        assert "another call" in await refusal(client, tool, **others, **key)


async def test_the_erased_stay_suppressed_and_listed_without_an_address(client: Client) -> None:
    scene = await new_campaign(client, people=1)
    await call(client, "erase_contact", email="person0@example.com")
    again = {"email": "PERSON0@example.com", "first_name": "P"}
    assert (await call(client, "upsert_contacts", contacts=[again]))["created"] == 1
    assert await enrolled_as(client, scene["campaign_id"], again) == ["suppressed"]
    text = await refusal(client, "unsuppress", email="person0@example.com", has_new_consent=True)
    assert "suppressed for ever" in text
    answer = await call(client, "suppress", email="person0@example.com", source="again")
    (row,) = (await call(client, "list_suppressions"))["suppressions"]
    assert row == answer["suppression"]
    assert set(row) == {"id", "reason", "source", "created_at", "is_erased"}
    assert (row["source"], row["is_erased"]) == ("erasure", True)
    assert (await call(client, "list_suppressions", search="person0"))["suppressions"] == []


async def test_whoever_is_in_a_job_alone_is_erased_and_does_not_come_back(
    own: Client, app: App, tmp_path: Path
) -> None:
    csv = f"email,last_name\n{EMAIL},Quux\n"
    await call(own, "create_job", type="import", parameters={"csv": csv})
    answer = await call(own, "erase_contact", email=EMAIL)
    assert ("contact_id" in answer, answer["jobs"]) == (False, 1)
    assert "quux" not in bytes_of(tmp_path)
    scene = await new_campaign(own)
    assert await enrolled_as(own, scene["campaign_id"], {"email": EMAIL}) == ["suppressed"]


async def test_what_a_crash_between_the_stores_left_is_cleaned_by_the_next_call(
    own: Client, app: App, database: Database, tmp_path: Path
) -> None:
    scene = await new_campaign(own, people=1)
    (mine,) = (await call(own, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=[PERSON]))["results"]
    local = app.local()
    local.close()  # the store can't be written, as after a crash between the two
    text = await refusal(own, "erase_contact", contact_id=mine["contact_id"])
    assert "call erase_contact again" in text
    assert "quux" not in everything(database)
    app._local = None  # pyright: ignore[reportPrivateUsage] - a server that has started again opens it again
    await call(own, "create_job", type="enrichment", parameters={"of": PERSON["linkedin_url"], "name": "Zoë"})
    await call(own, "cache_set", namespace="n", key="k", value=PERSON, ttl_seconds=60)
    answer = await call(own, "erase_contact", contact_id=mine["contact_id"])
    assert (answer["was_erased_before"], answer["jobs"], answer["cache_entries"]) == (True, 1, 1)
    assert "quux" not in bytes_of(tmp_path)
    with pytest.raises(StoreUnavailable):
        local.jobs.stats(now=NOW)


async def test_people_are_found_by_profile_and_in_whatever_way_accents_are_composed(client: Client) -> None:
    link = "https://www.linkedin.com/in/jos\u00e9"
    people = [{"linkedin_url": link, "first_name": "Jose\u0301"}, {"email": "al@example.com", "first_name": "Al"}]
    await call(client, "upsert_contacts", contacts=people)
    for asked in (
        {"linkedin_url": "linkedin.com/in/jose\u0301/"},
        {"search": "jose\u0301"},
        {"search": "JOS\u00c9"},
    ):
        found = await call(client, "find_contacts", **asked)
        assert [contact["linkedin_url"] for contact in found["contacts"]] == [link], asked


async def test_rows_about_one_person_are_answered_as_merged(client: Client) -> None:
    rows = [{"email": "a@example.com"}, {"email": "A@example.com", "first_name": "Al"}, {"email": "b@example.com"}]
    answer = await call(client, "upsert_contacts", contacts=rows, detail="full")
    assert [row["status"] for row in answer["results"]] == ["created", "merged", "created"]
    assert (answer["created"], answer["updated"], answer["merged"], answer["invalid"]) == (2, 1, 1, 0)


async def test_a_preview_and_a_repeated_claim_tell_who_is_suppressed(client: Client) -> None:
    campaign = await new_campaign(client, people=2, start=True)
    first = await call(client, "claim_due_actions", campaign_id=campaign["campaign_id"], idempotency_key="k")
    gone, left = first["actions"]
    shown = await call(client, "preview_action", enrollment_id=gone["enrollment_id"])
    assert "suppressed" not in shown
    await call(client, "suppress", email=gone["contact"]["email"], reason="unsubscribed")
    again = await call(client, "claim_due_actions", campaign_id=campaign["campaign_id"], idempotency_key="k")
    assert again["actions"] == [left]
    whom = {"campaign_id": campaign["campaign_id"], "contact_id": gone["contact"]["id"]}
    for asked in (whom, {"enrollment_id": gone["enrollment_id"], "step_number": 1}):
        assert (await call(client, "preview_action", **asked))["suppressed"] == "unsubscribed"


async def test_what_a_tool_reports_of_somebody_erased_keeps_nothing_of_them(client: Client, database: Database) -> None:
    await call(client, "upsert_contacts", contacts=[PERSON])
    await call(client, "erase_contact", email=EMAIL)
    late: dict[str, Any] = {"event_type": "opened", "channel": "email", "occurred_at": "2026-11-02T08:00:00Z"}
    late |= {"metadata": {"to": EMAIL, "nick": "plover"}}
    for more in ({"campaign_id": str(uuid4()), "email": EMAIL}, {"provider_message_id": "m1", "email": EMAIL}):
        answer = await call(client, "record_event", event={**late, **more})
        assert answer["orphaned"] == 1
    assert [trace for trace in TRACES if trace in everything(database)] == []
