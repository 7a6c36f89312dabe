"""Reports by variant, and ranges that end before they begin, as clients see them."""

from typing import Any

import pytest
from mcp.client import Client

from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio

SHAPE = {"campaign_id", "enrolled", "enrollment_status", "totals", "rates", "groups"}


def varied(*names: str, step_number: int = 1) -> list[dict[str, Any]]:
    text = {"subject": "Hello", "body": "Good morning, all"}
    return [{"step_number": step_number, "a_b_variant": name, **text} for name in names]


async def campaign_of(client: Client, steps: list[dict[str, Any]], people: int) -> tuple[str, dict[str, list[str]]]:
    """(campaign_id, variant -> its enrollments) of a started campaign."""
    template = await call(client, "create_template", name="T", type="email", email_steps=steps)
    made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = made["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    contacts = [{"email": f"person{index}@example.com"} for index in range(people)]
    if people:
        await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    page = await call(client, "list_enrollments", campaign_id=campaign_id, limit=500, detail="full")
    found: dict[str, list[str]] = {}
    for enrollment in page["enrollments"]:
        found.setdefault(enrollment["a_b_variant"], []).append(enrollment["id"])
    return campaign_id, found


async def happen(client: Client, event_type: str, enrollments: list[str], step_number: int = 1) -> None:
    event = {"event_type": event_type, "channel": "email", "step_number": step_number}
    events = [{**event, "enrollment_id": enrollment} for enrollment in enrollments]
    assert (await call(client, "record_events", events=events))["recorded"] == len(events)


async def by_variant(client: Client, campaign_id: str, **arguments: Any) -> dict[str, Any]:
    return await call(client, "get_metrics", campaign_id=campaign_id, group_by="variant", **arguments)


async def test_two_variants_are_compared_and_the_better_one_leads(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 500)
    for name, replies, bounces in (("A", 6, 40), ("B", 48, 4)):
        await happen(client, "delivered", people[name][:120])
        await happen(client, "bounced", people[name][120 - bounces : 120])
        await happen(client, "replied", people[name][:replies])
    metrics = await by_variant(client, campaign_id)
    a, b = metrics["groups"]
    assert (a["key"], b["key"]) == ("A", "B")
    assert a["rates"]["reply_rate"] == 0.05
    assert a["intervals"]["reply_rate"] == pytest.approx([0.0231, 0.1048], abs=1e-4)
    assert a["intervals"]["acceptance_rate"] is None
    comparison = metrics["comparison"]
    assert comparison["variants"] == ["A", "B"]
    assert set(comparison["differences"]) == set(metrics["rates"])
    reply = comparison["differences"]["reply_rate"]
    assert reply["difference"] == -0.35
    assert -0.45 < reply["low"] < -0.35 < reply["high"] < -0.24
    assert reply["leader"] == "B"
    assert comparison["differences"]["bounce_rate"]["leader"] == "B"
    assert comparison["differences"]["unsubscribe_rate"]["leader"] is None
    assert comparison["sample_ratio"] == {"counts": {"A": 120, "B": 120}, "p_value": 1.0, "mismatch": False}
    assert "unsubscribe_rate" in comparison["note"]
    assert "reply_rate" not in comparison["note"]
    assert comparison["verdict"] == (
        "B is better by reply_rate: 6 of 120 people answered with A, 48 of 120 people answered with B. "
        "This holds however often you look: use B."
    )
    assert (comparison["primary_rate"], comparison["people_needed"]) == ("reply_rate", 0)


async def test_people_are_compared_and_not_the_steps_they_were_sent(client: Client) -> None:
    # By step, 180 opens of 648 against 126 of 552 would be more than chance; but they are those of 60 and 42 people.
    steps = [step for number in (1, 2, 3) for step in varied("A", "B", step_number=number)]
    campaign_id, people = await campaign_of(client, steps, 500)
    for name, sent, opened in (("A", 216, 60), ("B", 184, 42)):
        for number in (1, 2, 3):
            await happen(client, "delivered", people[name][:sent], number)
            await happen(client, "opened", people[name][:opened], number)
    comparison = (await by_variant(client, campaign_id))["comparison"]
    assert {name: (each["sent"], each["opened"]) for name, each in comparison["people"].items()} == {
        "A": (216, 60),
        "B": (184, 42),
    }
    opens = comparison["differences"]["open_rate"]
    assert (opens["difference"], opens["leader"]) == (pytest.approx(60 / 216 - 42 / 184, abs=1e-6), None)
    assert opens["p_value"] == pytest.approx(0.651027, abs=1e-6)


async def test_a_campaign_chooses_the_rate_that_decides(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 300)
    for name, opened in (("A", 60), ("B", 100)):
        await happen(client, "delivered", people[name][:110])
        await happen(client, "opened", people[name][:opened])
    comparison = (await by_variant(client, campaign_id))["comparison"]
    assert comparison["differences"]["open_rate"]["leader"] is None
    told = await refusal(client, "update_campaign", campaign_id=campaign_id, settings={"primary_rate": "opens"})
    assert "settings.primary_rate: must be one of delivery_rate, open_rate" in told
    await call(client, "update_campaign", campaign_id=campaign_id, settings={"primary_rate": "open_rate"})
    comparison = (await by_variant(client, campaign_id))["comparison"]
    assert comparison["differences"]["open_rate"]["leader"] == "B"
    assert comparison["verdict"].startswith("B is better by open_rate: 60 of 110 people opened one with A")


async def test_a_variant_that_is_added_is_compared_by_those_who_could_have_had_either(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A"), 40)
    await happen(client, "sent", people["A"])
    template_id = (await call(client, "get_campaign", campaign_id=campaign_id))["campaign"]["template_id"]
    await call(client, "update_template", template_id=template_id, email_steps=varied("B"))
    assert (await by_variant(client, campaign_id))["comparison"]["sample_ratio"]["counts"] == {"A": 0, "B": 0}
    later = [{"email": f"later{index}@example.com"} for index in range(30)]
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=later)
    page = await call(client, "list_enrollments", campaign_id=campaign_id, limit=500, detail="full")
    new = [enrollment for enrollment in page["enrollments"] if enrollment["id"] not in people["A"]]
    await happen(client, "sent", [enrollment["id"] for enrollment in new])
    metrics = await by_variant(client, campaign_id)
    sizes = {name: sum(enrollment["a_b_variant"] == name for enrollment in new) for name in ("A", "B")}
    assert metrics["comparison"]["sample_ratio"]["counts"] == sizes
    assert {group["key"]: group["totals"]["sent"] for group in metrics["groups"]}["A"] == 40 + sizes["A"]


async def test_no_winner_is_called_for_a_few_and_the_note_says_so(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 60)
    size = min(len(people["A"]), len(people["B"]))
    for name in ("A", "B"):
        await happen(client, "delivered", people[name][:size])
    await happen(client, "replied", people["A"][:size])
    comparison = (await by_variant(client, campaign_id))["comparison"]
    assert comparison["differences"]["reply_rate"]["difference"] == 1
    assert comparison["differences"]["reply_rate"]["leader"] is None
    assert "below 100" in comparison["note"]


async def test_a_split_that_is_off_is_reported_and_nobody_leads(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 500)
    await happen(client, "delivered", people["A"][:150])
    await happen(client, "replied", people["A"][:150])
    await happen(client, "delivered", people["B"][:100])
    comparison = (await by_variant(client, campaign_id))["comparison"]
    assert comparison["sample_ratio"]["counts"] == {"A": 150, "B": 100}
    assert comparison["sample_ratio"]["p_value"] == pytest.approx(0.001565, abs=1e-6)
    assert comparison["sample_ratio"]["mismatch"] is False
    await happen(client, "sent", people["A"][150:155])
    comparison = (await by_variant(client, campaign_id))["comparison"]
    assert comparison["sample_ratio"]["mismatch"] is True
    assert {difference["leader"] for difference in comparison["differences"].values()} == {None}
    assert "split is uneven" in comparison["note"]


async def test_a_variant_that_is_never_sent_is_a_split_that_is_off(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 100)
    await happen(client, "sent", people["A"][:20])
    metrics = await by_variant(client, campaign_id)
    assert [group["key"] for group in metrics["groups"]] == ["A"]
    assert metrics["comparison"]["sample_ratio"]["counts"] == {"A": 20, "B": 0}
    assert metrics["comparison"]["sample_ratio"]["mismatch"] is True


async def test_the_split_is_that_of_the_first_step_that_both_variants_have(client: Client) -> None:
    shared = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
    steps = [shared, *varied("A", step_number=2), *varied("A", "B", step_number=3), *varied("A", "B", step_number=4)]
    campaign_id, people = await campaign_of(client, steps, 100)
    everyone = [*people["A"][:15], *people["B"][:15]]
    await happen(client, "sent", everyone, 1)
    await happen(client, "sent", everyone, 2)
    await happen(client, "sent", everyone, 3)
    await happen(client, "sent", people["A"][:15], 4)
    metrics = await by_variant(client, campaign_id)
    assert [group["key"] for group in metrics["groups"]] == ["", "A", "B"]
    assert metrics["comparison"]["sample_ratio"]["counts"] == {"A": 15, "B": 15}
    nothing = (await by_variant(client, campaign_id, until="2020-01-01"))["comparison"]
    assert nothing["sample_ratio"] == {"counts": {"A": 0, "B": 0}, "p_value": None, "mismatch": False}
    assert set(nothing["differences"]["reply_rate"].values()) == {None}


async def test_two_tests_are_compared_as_long_as_one_of_them_is_sent(client: Client) -> None:
    steps = [*varied("A", "B", step_number=1), *varied("X", "Y", step_number=2)]
    campaign_id, people = await campaign_of(client, steps, 100)
    assert "comparison" not in await by_variant(client, campaign_id)
    everyone = [person for group in people.values() for person in group]
    await happen(client, "sent", everyone, 1)
    metrics = await by_variant(client, campaign_id)
    assert metrics["comparison"]["variants"] == ["A", "B"]
    sizes = {group["key"]: group["totals"]["sent"] for group in metrics["groups"]}
    assert metrics["comparison"]["sample_ratio"]["counts"] == sizes
    await happen(client, "sent", everyone[:10], 2)
    metrics = await by_variant(client, campaign_id)
    assert "comparison" not in metrics
    assert sum(group["totals"]["sent"] for group in metrics["groups"]) == 110


@pytest.mark.parametrize("names", [["A"], ["A", "B", "C"]])
async def test_only_two_variants_are_compared(client: Client, names: list[str]) -> None:
    campaign_id, people = await campaign_of(client, varied(*names), 90)
    for name in names:
        await happen(client, "delivered", people[name])
    metrics = await by_variant(client, campaign_id)
    assert set(metrics) == SHAPE
    assert [set(group) for group in metrics["groups"]] == [{"key", "totals", "rates", "intervals"}] * len(names)


@pytest.mark.parametrize("group_by", ["total", "step", "channel", "day"])
async def test_reports_that_are_not_by_variant_keep_their_shape(client: Client, group_by: str) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 20)
    await happen(client, "sent", people["A"])
    metrics = await call(client, "get_metrics", campaign_id=campaign_id, group_by=group_by)
    assert set(metrics) == SHAPE
    of_steps = {"channel"} if group_by == "step" else set[str]()
    assert all(set(group) == {"key", "totals", "rates"} | of_steps for group in metrics["groups"])


async def both_channels(client: Client) -> str:
    """A campaign of an email and an invitation, sent to 10 and 4 people; and one who leaves before anything is sent."""
    made = await call(
        client,
        "create_template",
        name="T",
        type="multi_channel",
        email_steps=varied("A", "B"),
        linkedin_steps=[{"step_number": 2, "type": "connection_request", "message": "Hello"}],
    )
    campaign = await call(client, "create_campaign", name="Both", template_id=made["template"]["id"])
    campaign_id = campaign["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    contacts = [{"email": f"person{index}@example.com"} for index in range(11)]
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts, detail="full")
    *ids, leaver = [row["enrollment_id"] for row in enrolled["results"]]
    await happen(client, "delivered", ids[:8])
    await happen(client, "opened", ids[:4])
    await happen(client, "sent", ids[8:])
    invited = {"channel": "linkedin", "step_number": 2}
    for event_type, people in (
        ("connection_sent", ids[:4]),
        ("connection_accepted", ids[:1]),
        ("message_replied", ids[:1]),
    ):
        rows = [{"event_type": event_type, "enrollment_id": person, **invited} for person in people]
        assert (await call(client, "record_events", events=rows))["recorded"] == len(people)
    await happen(client, "unsubscribed", ids[5:6])
    gone = {"event_type": "unsubscribed", "channel": "email", "enrollment_id": leaver}
    assert (await call(client, "record_event", event=gone))["recorded"] == 1
    return campaign_id


async def test_a_rate_is_of_one_channel_and_the_same_in_every_report(client: Client) -> None:
    campaign_id = await both_channels(client)
    total = await call(client, "get_metrics", campaign_id=campaign_id)
    assert {name: total["totals"][name] for name in ("sent", "delivered", "unsubscribed")} == {
        "sent": 14, "delivered": 9, "unsubscribed": 2,
    }  # fmt: skip
    assert set(total["rates"].values()) == {None}
    email, linkedin = total["channels"]
    known = {slug: rate for slug, rate in email["rates"].items() if rate}
    assert known == {"delivery_rate": 0.8, "open_rate": 0.5, "unsubscribe_rate": 0.125}
    assert {slug: rate for slug, rate in linkedin["rates"].items() if rate} == {
        "reply_rate": 0.25,
        "acceptance_rate": 0.25,
    }
    assert (await call(client, "get_metrics", campaign_id=campaign_id, group_by="channel"))["groups"] == [
        email,
        linkedin,
    ]
    steps = (await call(client, "get_metrics", campaign_id=campaign_id, group_by="step"))["groups"]
    assert [(group["key"], group["rates"]) for group in steps[1:]] == [("1", email["rates"]), ("2", linkedin["rates"])]
    (day,) = [
        group
        for group in (await call(client, "get_metrics", campaign_id=campaign_id, group_by="day"))["groups"]
        if group["totals"]["sent"]
    ]
    assert set(day["rates"].values()) == {None}
    (line,) = (await call(client, "list_campaigns", rates=True))["campaigns"]
    assert "rates" not in line
    assert {slug: rate for slug, rate in line["channels"]["email"].items() if rate} == known
    assert set(line["channels"]) == {"email", "linkedin"}


async def test_who_leaves_before_anything_is_sent_is_in_no_rate(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 3)
    first, *others = [person for group in people.values() for person in group]
    await happen(client, "delivered", [first])
    for person in others:
        event = {"event_type": "unsubscribed", "channel": "email", "enrollment_id": person}
        await call(client, "record_event", event=event)
    total = await call(client, "get_metrics", campaign_id=campaign_id)
    assert (total["totals"]["unsubscribed"], total["rates"]["unsubscribe_rate"]) == (2, 0)
    (line,) = (await call(client, "list_campaigns", rates=True))["campaigns"]
    assert line["rates"] == {slug: rate for slug, rate in total["rates"].items() if rate is not None}
    assert "channels" not in total


async def test_a_day_from_which_everything_moved_away_is_left_out(client: Client) -> None:
    campaign_id, people = await campaign_of(client, varied("A", "B"), 1)
    ((enrollment_id,),) = people.values()
    event = {"event_type": "sent", "channel": "email", "step_number": 1, "enrollment_id": enrollment_id}
    for day in ("2026-03-02", "2026-03-01"):
        await call(client, "record_event", event={**event, "occurred_at": f"{day}T12:00:00Z"})
    metrics = await call(client, "get_metrics", campaign_id=campaign_id, group_by="day")
    assert [group["key"] for group in metrics["groups"]] == ["2026-03-01"]


@pytest.mark.parametrize(
    ("tool", "since", "until"),
    [
        ("get_metrics", "2026-11-03", "2026-11-02"),
        ("get_metrics", "2026-11-03T00:00:00Z", "2026-11-02"),
        ("get_metrics", "2026-11-03T00:30:00Z", "2026-11-02T23:59:00Z"),
        ("list_events", "2026-11-02T10:00:00Z", "2026-11-02T10:00:00+01:00"),
    ],
)
async def test_a_range_that_ends_before_it_begins_is_refused_by_name(
    client: Client, tool: str, since: str, until: str
) -> None:
    campaign_id, _ = await campaign_of(client, varied("A", "B"), 0)
    text = await refusal(client, tool, campaign_id=campaign_id, since=since, until=until)
    assert "since (2026-11-0" in text
    assert "until (2026-11-0" in text
    # A day is a range of its own.
    await call(client, tool, campaign_id=campaign_id, since=since, until=since)
