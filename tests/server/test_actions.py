"""The agent's loop: due steps are claimed, done and completed once."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import NOW, call, refusal

pytestmark = pytest.mark.anyio

EMAILS = [
    {
        "step_number": 1,
        "subject": "Hello {{ first_name }}",
        "body": "Dear {{ first_name }}, of {{ company | default: 'you' }}",
    },
    {"step_number": 3, "subject": "Once more", "body": "Are you there, {{ first_name }}?", "delay_hours": 24},
]
LINKEDIN = [{"step_number": 2, "type": "connection_request", "message": "Hi {{ first_name }}", "delay_hours": 24}]


async def scene(client: Client, *names: str | None) -> dict[str, Any]:
    template = await call(
        client, "create_template", name="T", type="multi_channel", email_steps=EMAILS, linkedin_steps=LINKEDIN
    )
    campaign = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = campaign["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    contacts = [{"email": f"p{i}@example.com", "first_name": name} for i, name in enumerate(names)]
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts, detail="full")
    return {"campaign_id": campaign_id, "enrollments": [row["enrollment_id"] for row in enrolled["results"]]}


async def test_a_step_is_rendered_sent_once_and_followed_by_the_next(client: Client) -> None:
    where = await scene(client, "Zoë")
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert (due["step_number"], due["step_type"], due["channel"]) == (1, "email", "email")
    assert due["subject"] == "Hello Zoë"
    assert due["body"] == "Dear Zoë, of you"
    assert (await call(client, "claim_due_actions"))["actions"] == []
    report = {"action_id": due["action_id"], "lease_token": due["lease_token"], "outcome": "sent"}
    done = await call(client, "complete_action", **report, provider="mail", provider_message_id="m-1")
    assert done["action"]["status"] == "sent"
    assert done["enrollment"]["current_step"] == 1
    assert datetime.fromisoformat(done["enrollment"]["next_action_at"]) == NOW + timedelta(hours=24)
    again = await call(client, "complete_action", **report, provider="mail", provider_message_id="m-1")
    assert again == done
    assert await call(client, "complete_action", **report, internet_message_id=" <used@mail.example> ") == done
    shown = await call(client, "get_enrollment", enrollment_id=where["enrollments"][0])
    assert shown["enrollment"]["actions"][0]["internet_message_id"] == "used@mail.example"
    problem = await refusal(client, "complete_action", **report, internet_message_id="<a@x.example> <b@x.example>")
    assert "must be one Message-ID" in problem
    opened = {"event_type": "opened", "channel": "email", "provider_message_id": "m-1"}
    assert (await call(client, "record_event", event=opened))["recorded"] == 1
    metrics = await call(client, "get_metrics", campaign_id=where["campaign_id"])
    assert (metrics["totals"]["sent"], metrics["totals"]["opened"]) == (1, 1)
    waiting = await call(client, "claim_due_actions", campaign_id=where["campaign_id"])
    assert datetime.fromisoformat(waiting["next_due_at"]) == NOW + timedelta(hours=24)


async def test_a_lease_that_runs_out_is_claimed_again_and_the_late_report_is_refused(
    make_app: Callable[..., App],
) -> None:
    moment = NOW
    app = make_app()
    app.clock = lambda: moment
    async with Client(build_server(app)) as client:
        await scene(client, "Ann")
        (first,) = (await call(client, "claim_due_actions", lease_seconds=60))["actions"]
        moment = NOW + timedelta(seconds=59)
        assert (await call(client, "claim_due_actions"))["actions"] == []
        moment = NOW + timedelta(seconds=60)
        (second,) = (await call(client, "claim_due_actions"))["actions"]
        assert second["action_id"] == first["action_id"]
        late = {"action_id": first["action_id"], "lease_token": first["lease_token"], "outcome": "sent"}
        assert "lease_token" in await refusal(client, "complete_action", **late)
        current = {**late, "lease_token": second["lease_token"]}
        assert (await call(client, "complete_action", **current))["action"]["status"] == "sent"
        assert "before" in await refusal(client, "complete_action", **{**current, "outcome": "failed"})


@pytest.mark.parametrize("nothing", [None, "", " "])
@pytest.mark.parametrize("text", ["{{ attributes.city }}", "{{ attributes.place.city }}", "{{ campaign.offer }}"])
async def test_a_value_that_is_empty_leaves_no_hole(client: Client, nothing: str | None, text: str) -> None:
    step = {"step_number": 1, "subject": "Hello", "body": f"We saw you in {text}, and wondered"}
    made = await call(client, "create_template", name="T", type="email", email_steps=[step])
    settings = {"variables": {"offer": nothing or ""}}
    template_id = made["template"]["id"]
    campaign_id = (await call(client, "create_campaign", name="C", template_id=template_id, settings=settings))[
        "campaign"
    ]["id"]
    person = {"email": "a@example.com", "attributes": {"city": nothing, "place": {"city": nothing}}}
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[person])
    started = await call(client, "start_campaign", campaign_id=campaign_id)
    assert len(started.get("warnings", [])) == (0 if "place" in text else 1)
    told = await call(client, "explain_due", campaign_id=campaign_id)
    assert [hold["reason"] for hold in told["holds"]] == ["missing_variable"]
    assert (await call(client, "claim_due_actions"))["actions"] == []


async def test_an_email_to_nobodys_address_is_not_handed_out_and_says_so(client: Client) -> None:
    template = {"email_steps": [{"step_number": 1, "subject": "Hello", "body": "Good morning, all"}]}
    made = await call(client, "create_template", name="T", type="email", **template)
    campaign = await call(client, "create_campaign", name="C", template_id=made["template"]["id"])
    campaign_id = campaign["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    profile = {"linkedin_url": "https://www.linkedin.com/in/lin"}
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[profile])
    enrollment_id = enrolled["results"][0]["enrollment_id"]
    told = await call(client, "explain_due", enrollment_id=enrollment_id)
    assert [hold["reason"] for hold in told["holds"]] == ["missing_address"]
    assert (await call(client, "claim_due_actions"))["actions"] == []
    held = (await call(client, "get_enrollment", enrollment_id=enrollment_id))["enrollment"]
    assert held["status"] == "paused"
    assert "missing_address" in held["actions"][0]["error"]
    await call(client, "upsert_contacts", contacts=[{**profile, "email": "lin@example.com"}])
    await call(client, "update_enrollment", enrollment_id=enrollment_id, action="resume")
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["contact"]["email"] == "lin@example.com"


async def test_a_missing_variable_sends_nothing_and_says_so(client: Client) -> None:
    where = await scene(client, None, "Ann")
    claimed = (await call(client, "claim_due_actions"))["actions"]
    assert [due["contact"]["first_name"] for due in claimed] == ["Ann"]
    held = (await call(client, "get_enrollment", enrollment_id=where["enrollments"][0]))["enrollment"]
    assert held["status"] == "paused"
    assert "missing_variable" in held["actions"][0]["error"]
    assert "first_name" in await refusal(client, "preview_action", enrollment_id=where["enrollments"][0])
    await call(client, "upsert_contacts", contacts=[{"email": "p0@example.com", "first_name": "Bo"}])
    await call(client, "update_enrollment", enrollment_id=where["enrollments"][0], action="resume")
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["subject"] == "Hello Bo"


async def test_nobody_is_claimed_who_was_suppressed_or_paused_or_whose_campaign_is(client: Client) -> None:
    where = await scene(client, "Ann", "Bo", "Cy")
    await call(client, "suppress", email="p0@example.com")
    await call(client, "update_enrollment", enrollment_id=where["enrollments"][1], action="pause")
    claimed = (await call(client, "claim_due_actions"))["actions"]
    assert [due["contact"]["first_name"] for due in claimed] == ["Cy"]
    await call(client, "pause_campaign", campaign_id=where["campaign_id"])
    assert "paused" in await refusal(client, "claim_due_actions", campaign_id=where["campaign_id"])


async def test_skipped_passes_the_step_and_failed_waits_for_a_decision(client: Client) -> None:
    await scene(client, "Ann", "Bo")
    one, two = (await call(client, "claim_due_actions"))["actions"]
    skipped = await call(
        client, "complete_action", action_id=one["action_id"], lease_token=one["lease_token"], outcome="skipped"
    )
    assert skipped["enrollment"]["current_step"] == 1
    failed = await call(
        client, "complete_action",
        action_id=two["action_id"], lease_token=two["lease_token"], outcome="failed", error="mailbox full",
    )  # fmt: skip
    assert failed["action"]["error"] == "mailbox full"
    assert failed["enrollment"]["status"] == "paused"
    await call(client, "update_enrollment", enrollment_id=failed["enrollment"]["id"], action="resume")
    (again,) = (await call(client, "claim_due_actions"))["actions"]
    assert again["action_id"] == two["action_id"]


async def test_claimers_at_once_share_the_work_without_overlap(client: Client) -> None:
    await scene(client, *(f"P{i}" for i in range(20)))
    claimed: list[str] = []

    async def work() -> None:
        while batch := (await call(client, "claim_due_actions", limit=3))["actions"]:
            claimed.extend(due["action_id"] for due in batch)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(work)
    assert len(claimed) == len(set(claimed)) == 20


async def test_a_channel_is_claimed_alone(client: Client) -> None:
    await scene(client, "Ann")
    assert (await call(client, "claim_due_actions", channel="linkedin"))["actions"] == []
    assert len((await call(client, "claim_due_actions", channel="email"))["actions"]) == 1


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("claim_due_actions", {"lease_seconds": 31_536_000}, "lease_seconds"),
    ("claim_due_actions", {"limit": 0}, "limit"),
    ("claim_due_actions", {"campaign_id": str(uuid4())}, "list_campaigns"),
    (
        "complete_action",
        {"action_id": str(uuid4()), "lease_token": str(uuid4()), "outcome": "sent"},
        "claim_due_actions",
    ),
    ("preview_action", {"enrollment_id": str(uuid4())}, "list_enrollments"),
]


@pytest.mark.parametrize(("tool", "arguments", "named"), BAD)
async def test_bad_arguments_are_refused_by_name(
    client: Client, tool: str, arguments: dict[str, Any], named: str
) -> None:
    assert named in await refusal(client, tool, **arguments)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("{% if %} never ends", "body of step 1"),
        ("{{ first_name | nofilter }}", "nofilter"),
        ("{% include 'footer' %}", "includes footer"),
        ("{{ nick }}{% for i in (1..1000000) %}{% assign x = i %}{% endfor %}", "1,000 rounds of loops"),
        ("{{ attributes.a.b }}{% for i in (1..40) %}{% for j in (1..40) %}{% endfor %}{% endfor %}", "1,000 rounds"),
        ('{% assign x = "0123456789" %}' + "{% assign x = x | append: x %}" * 20 + "{{ x }}", "characters"),
    ],
)
async def test_a_template_that_can_never_be_rendered_is_refused(client: Client, body: str, named: str) -> None:
    steps = [{"step_number": 1, "subject": "Hi", "body": body}]
    assert named in await refusal(client, "create_template", name="T", type="email", email_steps=steps)
    assert (await call(client, "list_templates"))["templates"] == []


@pytest.mark.parametrize(
    "body",
    [
        "{% for i in (1..attributes.times) %}{% assign x = i %}{% endfor %}",
        '{% assign x = "word" %}{% for i in (1..attributes.few) %}{% assign x = x | append: x %}{% endfor %}',
    ],
    ids=["loops", "grows"],
)
async def test_a_text_that_loops_or_grows_without_end_for_somebody_pauses_them(client: Client, body: str) -> None:
    steps = [{"step_number": 1, "subject": "Hi", "body": body}]
    template = await call(client, "create_template", name="T", type="email", email_steps=steps)
    campaign = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    await call(client, "start_campaign", campaign_id=campaign["campaign"]["id"])
    contacts = [{"email": "a@example.com", "attributes": {"times": 1_000_000, "few": 30}}]
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign["campaign"]["id"], contacts=contacts)
    who = enrolled["results"][0]["enrollment_id"]
    told = await call(client, "explain_due", enrollment_id=who)
    assert [hold["reason"] for hold in told["holds"]] == ["invalid_text"]
    assert (await call(client, "claim_due_actions"))["actions"] == []
    assert (await call(client, "get_enrollment", enrollment_id=who))["enrollment"]["status"] == "paused"


@pytest.mark.parametrize("outcome", ["sent", "skipped", "failed"])
async def test_who_holds_a_step_that_is_advanced_past_reports_it_and_moves_nothing(
    client: Client, outcome: str
) -> None:
    where = await scene(client, "Ann")
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    advanced = await call(client, "update_enrollment", enrollment_id=where["enrollments"][0], action="advance")
    assert advanced["enrollment"]["current_step"] == 1
    assert advanced["enrollment"]["actions"][0]["status"] == "skipped"
    late = {"action_id": due["action_id"], "lease_token": due["lease_token"], "outcome": outcome}
    told = await call(client, "complete_action", **late)
    assert told["action"]["status"] == outcome
    assert (told["enrollment"]["status"], told["enrollment"]["current_step"]) == (advanced["enrollment"]["status"], 1)


async def test_variables_that_nobody_has_are_named_when_a_template_is_made(client: Client) -> None:
    body = "{{ nick | default: 'you' }}, {{ attributes.city }} and {{ campaign.offer }} for {{ company }}"
    step = {"step_number": 1, "subject": "Hello {{ fist_name }}", "body": body}
    made = await call(client, "create_template", name="T", type="email", email_steps=[step])
    assert [warning.partition(". ")[0] for warning in made["warnings"]] == [
        "subject of step 1: {{ fist_name }} is unknown, so the step will never be sent",
        "body of step 1: {{ nick }} is unknown, so its default is always used",
    ]
    fixed = {**step, "subject": "Hello {{ first_name }}", "body": body.replace("nick", "first_name")}
    changed = await call(client, "update_template", template_id=made["template"]["id"], email_steps=[fixed])
    assert "warnings" not in changed


async def test_variables_that_are_not_filled_in_are_named_at_the_start(client: Client) -> None:
    body = "{{ attributes.city }}, {{ campaign.offer }}, {{ campaign.sale | default: 'none' }} for {{ company }}"
    steps = [{"step_number": 1, "subject": "Hello", "body": body}]
    template = await call(client, "create_template", name="T", type="email", email_steps=steps)
    made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = made["campaign"]["id"]
    people: list[dict[str, Any]] = [
        {"email": "ann@example.com", "company": "Acme", "attributes": {"city": "Oslo"}},
        {"email": "ben@example.com", "attributes": {}},
    ]
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=people)
    warnings = (await call(client, "start_campaign", campaign_id=campaign_id))["warnings"]
    assert [warning.split(" is ")[0] for warning in warnings] == [
        "body of step 1: {{ campaign.offer }}",
        "attributes.city",
        "company",
    ]
    assert "missing for 1 of 2 people" in warnings[1]
    settings = {"variables": {"offer": "a trial"}}
    await call(client, "update_campaign", campaign_id=campaign_id, settings=settings)
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["body"] == "Oslo, a trial, none for Acme"
    held = await call(client, "list_enrollments", campaign_id=campaign_id, status="paused")
    told = await call(client, "explain_due", enrollment_id=held["enrollments"][0]["id"])
    assert [hold["reason"] for hold in told["holds"]] == ["enrollment_paused", "missing_variable"]


async def test_a_text_may_ask_whether_a_variable_is_there(client: Client) -> None:
    body = "Good morning{% if company %} to {{ company }}{% endif %}, all of you"
    steps = [{"step_number": 1, "subject": "Hello", "body": body}]
    template = await call(client, "create_template", name="T", type="email", email_steps=steps)
    made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    await call(client, "start_campaign", campaign_id=made["campaign"]["id"])
    await call(client, "enroll_contacts", campaign_id=made["campaign"]["id"], contacts=[{"email": "a@example.com"}])
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["body"] == "Good morning, all of you"


@pytest.mark.parametrize("is_reported_first", [True, False])
async def test_a_step_is_found_by_its_message_however_that_is_written(client: Client, is_reported_first: bool) -> None:
    made = await scene(client, *["Ada"] * 4)
    claimed = await call(client, "claim_due_actions", campaign_id=made["campaign_id"], channel="email")
    ways = [
        ({"provider": "SendGrid", "provider_message_id": "<one@example.com>"}, ("sendgrid", "one@example.com")),
        ({"provider": "sendgrid", "provider_message_id": " two@example.com "}, ("SENDGRID", "<two@example.com>")),
        ({"provider": " SendGrid ", "provider_message_id": "Three"}, ("sendgrid", " < Three > ")),
        ({"provider_message_id": "four"}, ("Sendgrid", "four\n")),
    ]
    events = [
        {"event_type": "opened", "channel": "email", "provider": provider, "provider_message_id": message}
        for _, (provider, message) in ways
    ]

    async def record() -> dict[str, Any]:
        return await call(client, "record_events", events=events)

    recorded = None if is_reported_first else await record()
    for action, (told, _) in zip(claimed["actions"], ways, strict=True):
        lease = {"action_id": action["action_id"], "lease_token": action["lease_token"]}
        await call(client, "complete_action", **lease, outcome="sent", **told)
    recorded = recorded or await record()
    assert recorded["recorded" if is_reported_first else "orphaned"] == 4
    metrics = await call(client, "get_metrics", campaign_id=made["campaign_id"])
    assert metrics["totals"]["opened"] == 4


async def test_a_provider_and_a_message_without_a_letter_are_refused(client: Client) -> None:
    event = {"event_type": "opened", "channel": "email"}
    for wrong in ({"provider_message_id": " <> "}, {"provider_message_id": "one", "provider": "  "}):
        answer = await call(client, "record_events", events=[event | wrong])
        assert answer["invalid"] == 1


async def test_any_step_is_previewed_for_any_contact(client: Client) -> None:
    where = await scene(client, "Ann")
    made = await call(client, "upsert_contacts", contacts=[{"email": "zoe@example.com", "first_name": "Zoë"}])
    contact_id = made["results"][0]["contact_id"]
    whom = {"campaign_id": where["campaign_id"], "contact_id": contact_id}
    assert (await call(client, "preview_action", **whom))["subject"] == "Hello Zoë"
    assert (await call(client, "preview_action", **whom, step_number=3))["body"] == "Are you there, Zoë?"
    assert "campaign_id and contact_id" in await refusal(client, "preview_action", contact_id=contact_id)
    nobody = {**whom, "contact_id": str(uuid4())}
    assert "find_contacts" in await refusal(client, "preview_action", **nobody)
    listed = await call(client, "list_enrollments", campaign_id=where["campaign_id"])
    assert len(listed["enrollments"]) == 1


async def test_a_refused_change_names_only_what_the_tool_can_do(client: Client) -> None:
    (enrollment_id,) = (await scene(client, "Ann"))["enrollments"]
    refused = {
        "resume": "The enrollment is active, which resume can't change. "
        "Allowed from active: pause, advance, complete, move, unsubscribe.",
        "pause": "The enrollment is completed, which pause can't change. Allowed from completed: resume, unsubscribe.",
    }
    resume = await refusal(client, "update_enrollment", enrollment_id=enrollment_id, action="resume")
    await call(client, "update_enrollment", enrollment_id=enrollment_id, action="complete")
    pause = await refusal(client, "update_enrollment", enrollment_id=enrollment_id, action="pause")
    assert [resume, pause] == [f"Error executing tool update_enrollment: {text}" for text in refused.values()]
