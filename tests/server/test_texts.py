"""A text is handed out only as it may be sent: with something in it, and no longer than its channel takes."""

from typing import Any, NamedTuple

import pytest
from mcp.client import Client
from sqlalchemy import text

from db.postgres.database import Database
from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio

EMAIL = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}


class Made(NamedTuple):
    campaign_id: str
    enrollment_id: str
    contact_id: str


async def enrolled(client: Client, person: dict[str, Any], **steps: Any) -> Made:
    """Somebody in an active campaign of these steps."""
    template = await call(client, "create_template", name="T", type="multi_channel", **steps)
    made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = made["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    contacts = [{"email": "a@example.com", **person}]
    (row,) = (await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts))["results"]
    return Made(campaign_id, row["enrollment_id"], row["contact_id"])


def linkedin(type_: str, message: str | None) -> dict[str, Any]:
    return {"linkedin_steps": [{"step_number": 1, "type": type_, "message": message}]}


def email(**texts: str) -> dict[str, Any]:
    return {"email_steps": [{**EMAIL, **texts}]}


IF_TITLE = "{% if title %}Good morning, all{% endif %}"
EMPTY = [
    (email(subject=IF_TITLE), "subject of step 1"),
    (email(body=IF_TITLE + " \u200b"), "body of step 1"),
    (linkedin("message", IF_TITLE), "message of step 1"),
    (linkedin("connection_request", IF_TITLE), "message of step 1"),
]
COPY = "{{ attributes.copy }}"
LONG = [
    (email(subject=COPY), 255, "subject of step 1"),
    (email(body=COPY * 50), 50_000, "body of step 1"),
    (linkedin("connection_request", COPY), 300, "message of step 1"),
    (linkedin("message", COPY), 1_500, "message of step 1"),
    (linkedin("voice_message", COPY), 1_500, "message of step 1"),
]


@pytest.mark.parametrize(("steps", "where"), EMPTY)
async def test_a_text_that_is_empty_when_filled_in_waits_for_words(
    client: Client, steps: dict[str, Any], where: str
) -> None:
    made = await enrolled(client, {}, **steps)
    (hold,) = (await call(client, "explain_due", enrollment_id=made.enrollment_id))["holds"]
    assert hold["reason"] == "invalid_text"
    assert f"{where} is empty when filled in" in hold["detail"]
    assert "update_template" in hold["detail"]
    assert hold["detail"] in await refusal(client, "preview_action", enrollment_id=made.enrollment_id)
    assert (await call(client, "claim_due_actions"))["actions"] == []
    held = (await call(client, "get_enrollment", enrollment_id=made.enrollment_id))["enrollment"]
    assert held["status"] == "paused"
    assert held["actions"][0]["error"] == hold["detail"]
    await call(client, "upsert_contacts", contacts=[{"email": "a@example.com", "title": "Head"}])
    await call(client, "update_enrollment", enrollment_id=made.enrollment_id, action="resume")
    assert len((await call(client, "claim_due_actions"))["actions"]) == 1


@pytest.mark.parametrize(("steps", "most", "where"), LONG)
async def test_a_text_that_is_too_long_when_filled_in_waits_for_fewer_words(
    client: Client, steps: dict[str, Any], most: int, where: str
) -> None:
    times = 50 if most == 50_000 else 1
    made = await enrolled(client, {"attributes": {"copy": "é" * (most // times + 1)}}, **steps)
    (hold,) = (await call(client, "explain_due", enrollment_id=made.enrollment_id))["holds"]
    assert hold["reason"] == "invalid_text"
    assert f"{where} has {most + times:,} characters when filled in" in hold["detail"]
    assert f"{most:,}" in hold["detail"]
    assert hold["detail"] in await refusal(client, "preview_action", enrollment_id=made.enrollment_id)
    assert (await call(client, "claim_due_actions"))["actions"] == []
    fits = {"email": "a@example.com", "attributes": {"copy": "é" * (most // times)}}
    await call(client, "upsert_contacts", contacts=[fits])
    await call(client, "update_enrollment", enrollment_id=made.enrollment_id, action="resume")
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert most in (len(due["body"]), len(due.get("subject", "")))


UNSTORABLE = [
    email(body="Hello {{ attributes.code | url_decode }}, welcome"),
    email(subject="Hello {{ attributes.code | url_decode }}"),
    email(body="Hello {{ attributes.code | url_decode | uniq: 'a' }}, welcome"),
    linkedin("message", "Hello {{ attributes.code | url_decode }}, welcome"),
]


@pytest.mark.parametrize("steps", UNSTORABLE)
async def test_a_character_that_cannot_be_stored_stops_its_text_alone(client: Client, steps: dict[str, Any]) -> None:
    made = await enrolled(client, {"attributes": {"code": "%00"}}, **steps)
    other = {"email": "b@example.com", "attributes": {"code": "%41"}}
    await call(client, "enroll_contacts", campaign_id=made.campaign_id, contacts=[other])
    claimed = (await call(client, "claim_due_actions"))["actions"]
    assert "a@example.com" not in [due["contact"]["email"] for due in claimed]
    held = (await call(client, "get_enrollment", enrollment_id=made.enrollment_id))["enrollment"]
    assert held["status"] == "paused"
    assert held["actions"][0]["error"].startswith("invalid_text: ")


async def test_a_stored_text_that_can_no_longer_be_read_pauses_its_campaign(client: Client, database: Database) -> None:
    made = await enrolled(client, {}, **email())
    with database.transaction("break a text") as session:
        session.execute(text("UPDATE email_sequences SET body = 'Good morning, {{ first_name'"))
    assert (await call(client, "claim_due_actions"))["actions"] == []
    campaign = (await call(client, "get_campaign", campaign_id=made.campaign_id))["campaign"]
    assert campaign["pause_reason"].startswith("invalid_text: body of step 1 is not a valid Liquid template")
    (line,) = (await call(client, "list_campaigns"))["campaigns"]
    assert line["pause_reason"] == campaign["pause_reason"]
    assert (await call(client, "get_health"))["paused_campaigns"] == {made.campaign_id: campaign["pause_reason"]}
    (warning,) = (await call(client, "update_template", template_id=campaign["template_id"], name="T2"))["warnings"]
    assert "body of step 1 is not a valid Liquid template" in warning
    assert "update_template" in warning


@pytest.mark.parametrize("type_", ["connection_request", "profile_visit"])
async def test_a_step_without_a_message_is_handed_out_without_one(client: Client, type_: str) -> None:
    await enrolled(client, {}, **linkedin(type_, None))
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert "body" not in due


async def test_what_is_empty_in_a_list_leaves_no_hole(client: Client) -> None:
    tags = {"attributes": {"tags": [None, " ", "warm", {"name": None}]}}
    made = await enrolled(client, tags, **email(body="You are {{ attributes.tags | first }}, we heard"))
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["body"] == "You are warm, we heard"
    await call(client, "upsert_contacts", contacts=[{"email": "a@example.com", "attributes": {"tags": [None, ""]}}])
    assert "missing_variable" in await refusal(client, "preview_action", enrollment_id=made.enrollment_id)


ADVICE = [
    ("first_name", "'first_name' is undefined. upsert_contacts gives"),
    ("attributes.city", "attributes.city is undefined. upsert_contacts gives"),
    ("attributes.tags | first", "the filter first finds nothing. upsert_contacts gives"),
    ("campaign.offer", "campaign.offer is undefined. update_campaign gives it in settings.variables"),
    ("campaign['the offer']", "campaign['the offer'] is undefined. update_campaign gives it in settings.variables"),
    ("fist_name", "'fist_name' is undefined. update_template corrects"),
    ("unsubscribe_url", "'unsubscribe_url' is undefined. update_template leaves it out"),
]


@pytest.mark.parametrize(("variable", "told"), ADVICE)
async def test_who_lacks_a_variable_is_told_what_gives_it(client: Client, variable: str, told: str) -> None:
    person: dict[str, Any] = {"attributes": {"tags": []}}
    made = await enrolled(client, person, **email(body=f"Hello to {{{{ {variable} }}}}, and welcome"))
    (hold,) = (await call(client, "explain_due", enrollment_id=made.enrollment_id))["holds"]
    assert hold["reason"] == "missing_variable"
    assert f"missing_variable: body of step 1: {told}" in hold["detail"]
    assert "update_enrollment then resumes" in hold["detail"]
    assert hold["detail"] in await refusal(client, "preview_action", enrollment_id=made.enrollment_id)


@pytest.mark.parametrize("body", ["{% for i in (1..attributes.n) %}{% endfor %}Hello", "{{ attributes.n | floor: 1 }}"])
async def test_a_text_that_fails_on_a_value_says_what_changes_it(client: Client, body: str) -> None:
    made = await enrolled(client, {"attributes": {"n": 5_000}}, **email(body=body))
    (hold,) = (await call(client, "explain_due", enrollment_id=made.enrollment_id))["holds"]
    assert hold["reason"] == "invalid_text"
    assert hold["detail"].startswith("invalid_text: body of step 1 ")
    assert "update_template" in hold["detail"]
    assert hold["detail"] in await refusal(client, "preview_action", enrollment_id=made.enrollment_id)


async def test_a_step_that_is_not_left_is_looked_up_in_its_template(client: Client) -> None:
    made = await enrolled(client, {}, **email())
    template_id = (await call(client, "get_campaign", campaign_id=made.campaign_id))["campaign"]["template_id"]
    said = await refusal(client, "preview_action", enrollment_id=made.enrollment_id, step_number=2)
    assert f"get_template of {template_id} shows its steps" in said


async def test_a_preview_of_a_variant_that_there_is_not_names_those_there_are(client: Client) -> None:
    variants = [{**EMAIL, "subject": name, "a_b_variant": name} for name in ("A", "B")]
    last = {**EMAIL, "step_number": 2, "subject": "Both"}
    made = await enrolled(client, {}, email_steps=[*variants, last])
    whom = {"campaign_id": made.campaign_id, "contact_id": made.contact_id}
    for wrong in ({"a_b_variant": "Z"}, {"a_b_variant": "b"}, {"a_b_variant": "Z", "step_number": 2}):
        said = await refusal(client, "preview_action", **whom, **wrong)
        assert f"a_b_variant: the campaign has no variant {wrong['a_b_variant']}. Its variants: A, B." in said
    assert (await call(client, "preview_action", **whom, a_b_variant="B"))["subject"] == "B"
    assert (await call(client, "preview_action", **whom, a_b_variant="B", step_number=2))["subject"] == "Both"


async def test_a_preview_of_a_variant_where_there_are_none_says_so(client: Client) -> None:
    made = await enrolled(client, {}, **email())
    whom = {"campaign_id": made.campaign_id, "contact_id": made.contact_id}
    said = await refusal(client, "preview_action", **whom, a_b_variant="A")
    assert "a_b_variant: the campaign has no variants. Leave it out." in said


async def test_an_ended_campaign_is_not_to_be_started_for_its_steps(client: Client) -> None:
    made = await enrolled(client, {}, **email())
    await call(client, "pause_campaign", campaign_id=made.campaign_id)
    paused = await refusal(client, "claim_due_actions", campaign_id=made.campaign_id)
    assert "paused, so nothing of it is due. start_campaign makes it active." in paused
    await call(client, "complete_campaign", campaign_id=made.campaign_id)
    ended = await refusal(client, "claim_due_actions", campaign_id=made.campaign_id)
    assert "completed for good, so nothing of it is due. create_campaign makes a new one of its template." in ended
    assert "start_campaign" not in ended
    (hold, *_) = (await call(client, "explain_due", campaign_id=made.campaign_id))["holds"]
    assert "create_campaign makes a new one of its template" in hold["detail"]


async def test_placeholders_of_other_programs_are_warned_of_wherever_they_stand(client: Client) -> None:
    steps = {
        "email_steps": [{**EMAIL, "subject": "Hi *|FNAME|*", "body": "Hello [Name], and {company} or %CITY%"}],
        "linkedin_steps": [{"step_number": 2, "type": "message", "message": "Hi <<Name>>"}],
    }
    made = await call(client, "create_template", name="T", type="multi_channel", **steps)
    assert [warning.partition(" would")[0] for warning in made["warnings"]] == [
        "subject of step 1: *|FNAME|*",
        "body of step 1: [Name], {company}, %CITY%",
        "message of step 2: <<Name>>",
    ]
    template_id = made["template"]["id"]
    campaign = await call(
        client,
        "create_campaign",
        name="C",
        template_id=template_id,
        settings={"variables": {"offer": "a trial of [Product Name]"}},
    )
    mended = {
        "email_steps": [EMAIL],
        "linkedin_steps": [{"step_number": 2, "type": "message", "message": "Hi {{ first_name }}"}],
    }
    assert "warnings" not in await call(client, "update_template", template_id=template_id, **mended)
    started = await call(client, "start_campaign", campaign_id=campaign["campaign"]["id"])
    assert [warning.partition(" would")[0] for warning in started["warnings"]] == [
        "settings.variables.offer: [Product Name]"
    ]


async def test_a_default_as_other_programs_write_it_is_refused_with_ours(client: Client) -> None:
    told = await refusal(client, "create_template", name="T", type="email", **email(subject="Hi {{first_name|there}}"))
    assert '{{ first_name | default: "there" }}' in told
