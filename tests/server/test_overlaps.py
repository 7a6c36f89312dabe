"""Who is in another campaign already, and which colleagues of theirs are."""

from typing import Any

import pytest
from mcp.client import Client

from db.services.people.companies import company_domain
from tests.support.server import call, new_campaign

pytestmark = pytest.mark.anyio


async def enrolled(client: Client, *emails: str, start: bool = True) -> str:
    """Returns the id of a new campaign with these people in it."""
    campaign_id = (await new_campaign(client, people=0, start=False))["campaign_id"]
    if emails:
        contacts = [{"email": email} for email in emails]
        await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    if start:
        await call(client, "start_campaign", campaign_id=campaign_id)
    return str(campaign_id)


async def found(client: Client, *emails: str, **more: Any) -> list[tuple[int, str, str | None, str]]:
    answer = await call(client, "find_overlaps", contacts=[{"email": email} for email in emails], **more)
    return [(row["index"], row["kind"], row.get("email"), row["campaign_id"]) for row in answer["overlaps"]]


async def test_people_and_colleagues_in_other_campaigns_are_found(client: Client) -> None:
    first = await enrolled(client, "ann@example.com", "bob@mail.example.com", "cyd@example.org")
    second = await enrolled(client, "ann@example.com", start=False)
    assert await found(client, "ANN@example.com", "dan@new.example.com", "eve@example.net") == [
        (0, "person", "ann@example.com", first),
        (0, "person", "ann@example.com", second),
        (0, "colleague", "bob@mail.example.com", first),
    ]
    assert await found(client, "ann@example.com", campaign_id=first) == [(0, "person", "ann@example.com", second)]
    answer = await call(client, "find_overlaps", contacts=[{"email": "ann@example.com"}])
    assert (answer["people"], answer["colleagues"]) == (1, 1)


async def test_people_are_found_by_their_ids_and_profiles_too(client: Client) -> None:
    profile = "https://www.linkedin.com/in/ann-example"
    answer = await call(
        client, "upsert_contacts", contacts=[{"email": "ann@example.com", "linkedin_url": profile}], detail="full"
    )
    contact_id = answer["results"][0]["contact_id"]
    campaign_id = await enrolled(client, "ann@example.com", "bob@example.com")
    by_id = await call(client, "find_overlaps", contacts=[{"contact_id": contact_id}])
    assert [(row["kind"], row["email"]) for row in by_id["overlaps"]] == [
        ("person", "ann@example.com"),
        ("colleague", "bob@example.com"),
    ]
    by_profile = await call(client, "find_overlaps", contacts=[{"linkedin_url": profile}])
    assert [row["campaign_id"] for row in by_profile["overlaps"]] == [campaign_id]


async def test_who_shares_a_host_of_free_addresses_is_no_colleague(client: Client) -> None:
    await enrolled(client, "ann@gmail.com")
    assert await found(client, "bob@gmail.com") == []


async def test_what_has_ended_is_no_overlap(client: Client) -> None:
    campaign_id = await enrolled(client, "ann@example.com")
    await call(client, "complete_campaign", campaign_id=campaign_id)
    other = await enrolled(client, "bob@example.org")
    (row,) = (await call(client, "list_enrollments", campaign_id=other))["enrollments"]
    await call(client, "update_enrollment", enrollment_id=row["id"], action="complete")
    assert await found(client, "ann@example.com", "bob@example.org", "cyd@example.com") == []


async def test_of_a_large_company_twenty_are_told(client: Client) -> None:
    await enrolled(client, *(f"p{number}@example.com" for number in range(25)))
    assert len(await found(client, "new@example.com")) == 20


async def test_enrolling_warns_of_people_who_are_busy_elsewhere(client: Client) -> None:
    await enrolled(client, "ann@example.com", "bob@example.com")
    campaign_id = (await new_campaign(client, people=0, start=False))["campaign_id"]
    contacts = [{"email": f"{name}@example.com"} for name in ("ann", "bob", "cyd")]
    answer = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    assert (answer["enrolled"], answer["busy_elsewhere"]) == (3, 2)
    assert answer["warnings"] == ["2 of them are in other campaigns. find_overlaps says in which."]
    alone = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[{"email": "dan@example.com"}])
    assert alone["busy_elsewhere"] == 0
    assert "warnings" not in alone or not alone["warnings"]


async def test_enrolling_warns_of_addresses_of_roles(client: Client) -> None:
    campaign_id = (await new_campaign(client))["campaign_id"]
    emails = ["info@example.com", "Sales+eu@example.com", "ann@example.com", "informer@example.com"]
    contacts = [{"email": email} for email in emails]
    answer = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    assert answer["enrolled"] == 4
    assert [warning[:30] for warning in answer["warnings"]] == ["role_address: 2 of them have a"]
    again = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    assert not again.get("warnings")
    other = (await new_campaign(client))["campaign_id"]
    csv = "email\n" + "\n".join(emails)
    notes = (await call(client, "import_contacts", csv=csv, campaign_id=other))["notes"]
    assert [note[:30] for note in notes] == ["role_address: 2 of them have a"]


@pytest.mark.parametrize(
    ("domain", "company"),
    [
        ("example.com", "example.com"),
        ("Mail.Example.co.uk", "example.co.uk"),
        ("ann.github.io", "ann.github.io"),
        ("gmail.com", None),
        ("com", None),
        ("co.uk", None),
    ],
)
def test_the_domain_of_a_company(domain: str, company: str | None) -> None:
    assert company_domain(domain) == company
