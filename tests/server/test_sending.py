"""When and how much a campaign hands out: windows, time zones, limits, and what explain_due says of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio

MONDAY = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)  # 08:00 in Berlin
OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}
TWO_STEPS = [
    {"step_number": 1, "subject": "Hello", "body": "The first of all"},
    {"step_number": 2, "subject": "Again", "body": "The last of all", "delay_hours": 48},
]


@dataclass
class Clock:
    now: datetime = MONDAY

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Desk:
    """A client of a server whose clock stands still until it is moved."""

    client: Client
    clock: Clock

    async def campaign(self, settings: dict[str, Any], people: int = 1, **fields: Any) -> str:
        template = await call(self.client, "create_template", name="T", type="email", email_steps=TWO_STEPS)
        template_id = template["template"]["id"]
        made = await call(self.client, "create_campaign", name="C", template_id=template_id, settings=settings)
        campaign_id: str = made["campaign"]["id"]
        await call(self.client, "start_campaign", campaign_id=campaign_id)
        contacts = [{"email": f"p{index}@{campaign_id}.example.com", **fields} for index in range(people)]
        await call(self.client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
        return campaign_id

    async def claim(self, campaign_id: str | None = None) -> dict[str, Any]:
        given = {"campaign_id": campaign_id} if campaign_id else {}
        return await call(self.client, "claim_due_actions", limit=100, **given)

    async def report(self, due: dict[str, Any], outcome: str = "sent") -> dict[str, Any]:
        given = {"action_id": due["action_id"], "lease_token": due["lease_token"]}
        return (await call(self.client, "complete_action", outcome=outcome, **given))["enrollment"]

    async def explain(self, **whom: str) -> dict[str, Any]:
        return await call(self.client, "explain_due", **whom)


@pytest.fixture
async def desk(make_app: Callable[..., App]) -> Any:
    app, clock = make_app(), Clock()
    app.clock = clock
    async with Client(build_server(app)) as client:
        yield Desk(client, clock)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_nothing_is_handed_out_before_the_window_opens_or_after_it_closes(desk: Desk) -> None:
    campaign_id = await desk.campaign({"timezone": "Europe/Berlin", "sending_window": OFFICE}, people=2)
    early = await desk.claim(campaign_id)
    opening = MONDAY + timedelta(hours=1)
    assert (early["actions"], moment(early["next_due_at"])) == ([], opening)
    told = await desk.explain(campaign_id=campaign_id)
    assert (told["due"], told["holds"][0]["reason"], moment(told["next_at"])) == (False, "outside_window", opening)
    desk.clock.now = opening
    first, second = (await desk.claim(campaign_id))["actions"]
    assert moment((await desk.report(first))["next_action_at"]) == opening + timedelta(hours=48)
    # A day off and a weekend later the window is missed: it moves to the next opening and not into the night.
    desk.clock.now = moment("2026-11-06T20:00:00+01:00")
    assert (await desk.claim(campaign_id))["actions"] == []
    assert await refusal(
        desk.client, "complete_action", action_id=second["action_id"], lease_token=first["lease_token"], outcome="sent"
    )
    desk.clock.now = moment("2026-11-09T09:00:00+01:00")
    due = (await desk.claim(campaign_id))["actions"]
    # One step a person, however many windows were missed.
    assert sorted(action["step_number"] for action in due) == [1, 2]


async def test_a_step_is_scheduled_into_the_window_across_the_change_of_the_clocks(desk: Desk) -> None:
    desk.clock.now = moment("2026-03-27T16:30:00+01:00")  # the Friday before summer time
    campaign_id = await desk.campaign({"timezone": "Europe/Berlin", "sending_window": OFFICE})
    (due,) = (await desk.claim(campaign_id))["actions"]
    after = await desk.report(due)
    # 48 hours later it is Sunday; the window opens on Monday at nine, in summer time by then.
    assert moment(after["next_action_at"]) == moment("2026-03-30T09:00:00+02:00")


async def test_the_window_is_read_in_the_time_zone_of_the_person(desk: Desk) -> None:
    settings = {"timezone": "Europe/Berlin", "sending_window": OFFICE, "use_contact_timezone": True}
    campaign_id = await desk.campaign(settings, timezone="America/New_York")
    desk.clock.now = moment("2026-11-02T12:00:00+01:00")
    assert moment((await desk.claim(campaign_id))["next_due_at"]) == moment("2026-11-02T09:00:00-05:00")
    desk.clock.now = moment("2026-11-02T09:00:00-05:00")
    assert len((await desk.claim(campaign_id))["actions"]) == 1


async def test_a_campaign_hands_out_no_more_than_its_daily_limit(desk: Desk) -> None:
    campaign_id = await desk.campaign({"timezone": "Europe/Berlin", "daily_limit": 3}, people=5)
    first = (await desk.claim(campaign_id))["actions"]
    assert len(first) == 3
    held = await desk.claim(campaign_id)
    assert (held["actions"], held["next_due_at"]) == ([], first[0]["lease_until"])
    waiting = await call(desk.client, "list_enrollments", campaign_id=campaign_id)
    told = [await desk.explain(enrollment_id=row["id"]) for row in waiting["enrollments"]]
    reasons = sorted(answer["holds"][0]["reason"] for answer in told)
    assert reasons == ["daily_limit", "daily_limit", "lease_held", "lease_held", "lease_held"]
    # What was not sent gives its place back.
    await desk.report(first[0], "skipped")
    last = (await desk.claim(campaign_id))["actions"]
    assert len(last) == 1
    for due in (*first[1:], *last):
        await desk.report(due)
    held = await desk.claim(campaign_id)
    midnight = moment("2026-11-03T00:00:00+01:00")
    assert (held["actions"], moment(held["next_due_at"])) == ([], midnight)
    desk.clock.now = midnight
    assert len((await desk.claim(campaign_id))["actions"]) == 1


async def test_accounts_are_limited_across_campaigns_and_the_tightest_limit_holds(desk: Desk) -> None:
    wide = {"senders": {"email": {"account": "ann@example.com", "daily_limit": 50}}}
    tight = {"senders": {"email": {"account": "ann@example.com", "daily_limit": 4}}}
    one, two = await desk.campaign(wide, people=3), await desk.campaign(tight, people=3)
    first = (await desk.claim(one))["actions"]
    assert [action["sender"] for action in first] == ["ann@example.com"] * 3
    (last,) = (await desk.claim(two))["actions"]
    told = await desk.explain(campaign_id=two)
    assert (told["holds"][0]["reason"], told["next_at"]) == ("sender_daily_limit", last["lease_until"])
    await desk.report(last)
    told = await desk.explain(campaign_id=two)
    assert told["holds"][0]["reason"] == "sender_daily_limit"
    assert "ann@example.com" in told["holds"][0]["detail"]


async def test_a_gap_lies_between_two_steps(desk: Desk) -> None:
    campaign_id = await desk.campaign({"min_gap_seconds": 90}, people=2)
    assert len((await desk.claim(campaign_id))["actions"]) == 1
    assert moment((await desk.claim(campaign_id))["next_due_at"]) == MONDAY + timedelta(seconds=90)
    desk.clock.now = MONDAY + timedelta(seconds=90)
    assert len((await desk.claim(campaign_id))["actions"]) == 1


async def test_a_step_whose_agent_died_is_due_again_at_the_expiry_and_keeps_its_reservation(desk: Desk) -> None:
    campaign_id = await desk.campaign({"daily_limit": 1}, people=2)
    (lost,) = (await desk.claim(campaign_id))["actions"]
    expiry = moment(lost["lease_until"])
    assert moment((await desk.claim(campaign_id))["next_due_at"]) == expiry
    whole, one = await desk.explain(campaign_id=campaign_id), await desk.explain(enrollment_id=lost["enrollment_id"])
    assert [told["holds"][0]["reason"] for told in (whole, one)] == ["daily_limit", "lease_held"]
    assert [moment(told["next_at"]) for told in (whole, one)] == [expiry, expiry]
    again = lost
    for _ in range(2):
        desk.clock.now = expiry
        for told in (
            await desk.explain(campaign_id=campaign_id),
            await desk.explain(enrollment_id=lost["enrollment_id"]),
        ):
            assert (told["due"], told["holds"]) == (True, [])
        (again,) = (await desk.claim(campaign_id))["actions"]
        assert again["enrollment_id"] == lost["enrollment_id"]
        expiry = moment(again["lease_until"])
    await desk.report(again)
    desk.clock.now = expiry
    rest = await desk.claim(campaign_id)
    assert (rest["actions"], moment(rest["next_due_at"])) == ([], moment("2026-11-03T00:00:00Z"))


async def test_a_reservation_of_an_account_counts_only_for_its_own_step(desk: Desk) -> None:
    settings = {"senders": {"email": {"account": "ann@example.com", "daily_limit": 2}}}
    one, other = await desk.campaign(settings, people=1), await desk.campaign(settings, people=2)
    (lost,) = (await desk.claim(one))["actions"]
    (kept,) = (await desk.claim(other))["actions"]
    await desk.report(kept)
    desk.clock.now = moment(lost["lease_until"])
    assert (await desk.claim(other))["actions"] == []
    (again,) = (await desk.claim())["actions"]
    assert again["enrollment_id"] == lost["enrollment_id"]


async def test_a_reservation_of_another_account_or_day_does_not_count(desk: Desk) -> None:
    campaign_id = await desk.campaign({"daily_limit": 1, "timezone": "Europe/Berlin"}, people=2)
    desk.clock.now = moment("2026-11-02T22:58:00Z")
    (lost,) = (await desk.claim(campaign_id))["actions"]
    desk.clock.now = moment("2026-11-02T23:10:00Z")  # the next day in Berlin
    (first,) = (await desk.claim(campaign_id))["actions"]
    assert first["enrollment_id"] != lost["enrollment_id"]
    (hold,) = (await desk.explain(enrollment_id=lost["enrollment_id"]))["holds"]
    assert hold["reason"] == "daily_limit"
    senders = {"email": {"account": "ann@example.com"}}
    await call(desk.client, "update_campaign", campaign_id=campaign_id, settings={"daily_limit": 1, "senders": senders})
    desk.clock.now = moment(first["lease_until"])
    assert (await desk.claim(campaign_id))["actions"] == []


async def test_a_step_that_is_due_again_keeps_the_gap(desk: Desk) -> None:
    campaign_id = await desk.campaign({"daily_limit": 2, "min_gap_seconds": 900}, people=2)
    (lost,) = (await desk.claim(campaign_id))["actions"]
    gap_ends = MONDAY + timedelta(seconds=900)
    desk.clock.now = moment(lost["lease_until"])
    early = await desk.claim(campaign_id)
    assert (early["actions"], moment(early["next_due_at"])) == ([], gap_ends)
    desk.clock.now = gap_ends
    (other,) = (await desk.claim(campaign_id))["actions"]  # due before the one that was lost
    assert other["enrollment_id"] != lost["enrollment_id"]
    await desk.report(other)
    desk.clock.now += timedelta(seconds=600)
    early = await desk.claim(campaign_id)
    assert (early["actions"], moment(early["next_due_at"])) == ([], gap_ends + timedelta(seconds=900))
    (hold,) = (await desk.explain(enrollment_id=lost["enrollment_id"]))["holds"]
    assert hold["reason"] == "min_gap"
    desk.clock.now = moment(early["next_due_at"])
    (again,) = (await desk.claim(campaign_id))["actions"]
    assert again["enrollment_id"] == lost["enrollment_id"]


async def test_a_ramp_up_grows_by_the_day_until_the_daily_limit(desk: Desk) -> None:
    settings = {"daily_limit": 3, "ramp_up": {"start": 1, "increase": 1}}
    campaign_id = await desk.campaign(settings, people=20)
    handed: list[int] = []
    for _ in range(5):
        handed.append(len((await desk.claim(campaign_id))["actions"]))
        desk.clock.now += timedelta(days=1)
    assert handed == [1, 2, 3, 3, 3]


async def test_a_window_that_never_opens_is_refused_at_the_start(desk: Desk) -> None:
    template = await call(desk.client, "create_template", name="T", type="email", email_steps=TWO_STEPS)
    for window in ({**OFFICE, "days": []}, {**OFFICE, "start": "17:00"}):
        settings = {"sending_window": window}
        made = await call(
            desk.client, "create_campaign", name="C", template_id=template["template"]["id"], settings=settings
        )
        campaign_id = made["campaign"]["id"]
        assert "never opens" in await refusal(desk.client, "start_campaign", campaign_id=campaign_id)
        shown = await call(desk.client, "get_campaign", campaign_id=campaign_id)
        assert shown["campaign"]["status"] == "draft"


async def test_a_running_campaign_keeps_a_window_that_opens(desk: Desk) -> None:
    never = {"sending_window": {**OFFICE, "days": []}}
    campaign_id = await desk.campaign({"sending_window": OFFICE})
    said = await refusal(desk.client, "update_campaign", campaign_id=campaign_id, settings=never)
    shown = await call(desk.client, "get_campaign", campaign_id=campaign_id)
    assert shown["campaign"]["settings"]["sending_window"] == OFFICE
    await call(desk.client, "pause_campaign", campaign_id=campaign_id)
    await call(desk.client, "update_campaign", campaign_id=campaign_id, settings=never)
    start = await refusal(desk.client, "start_campaign", campaign_id=campaign_id)
    assert "never opens" in start
    assert said.partition(": ")[2] == start.partition(": ")[2]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"sending_window": {**OFFICE, "start": "25:00"}}, "sending_window"),
        ({"sending_window": {**OFFICE, "days": ["someday"]}}, "sending_window"),
        ({"daily_limit": 0}, "daily_limit"),
        ({"holidays": ["2026-02-30"]}, "holidays"),
        ({"senders": {"fax": {"account": "1"}}}, "senders"),
    ],
)
async def test_settings_that_mean_nothing_are_refused_by_name(desk: Desk, settings: dict[str, Any], named: str) -> None:
    template = await call(desk.client, "create_template", name="T", type="email", email_steps=TWO_STEPS)
    given = {"name": "C", "template_id": template["template"]["id"], "settings": settings}
    assert named in await refusal(desk.client, "create_campaign", **given)


async def test_pausing_and_resuming_shifts_nothing(desk: Desk) -> None:
    campaign_id = await desk.campaign({}, people=1)
    (due,) = (await desk.claim(campaign_id))["actions"]
    scheduled = (await desk.report(due))["next_action_at"]
    for _ in range(2):
        desk.clock.now += timedelta(hours=5)
        await call(desk.client, "pause_campaign", campaign_id=campaign_id)
        told = await desk.explain(campaign_id=campaign_id)
        assert (told["due"], told["holds"][0]["reason"]) == (False, "campaign_paused")
        assert "next_at" not in told
        await call(desk.client, "start_campaign", campaign_id=campaign_id)
    shown = await call(desk.client, "get_enrollment", enrollment_id=due["enrollment_id"])
    assert shown["enrollment"]["next_action_at"] == scheduled


async def test_a_webhook_that_corrects_the_moment_does_not_free_a_claimed_step(desk: Desk) -> None:
    steps = [{**TWO_STEPS[0]}, {**TWO_STEPS[1], "delay_hours": 0}]
    template = await call(desk.client, "create_template", name="T", type="email", email_steps=steps)
    made = await call(desk.client, "create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = made["campaign"]["id"]
    await call(desk.client, "start_campaign", campaign_id=campaign_id)
    await call(desk.client, "enroll_contacts", campaign_id=campaign_id, contacts=[{"email": "ann@example.com"}])
    (first,) = (await desk.claim())["actions"]
    await desk.report(first)
    (second,) = (await desk.claim())["actions"]
    assert second["step_number"] == 2
    earlier = (MONDAY - timedelta(seconds=30)).isoformat()
    event = {"event_type": "sent", "channel": "email", "enrollment_id": first["enrollment_id"], "step_number": 1}
    await call(desk.client, "record_event", event={**event, "occurred_at": earlier})
    assert (await desk.claim())["actions"] == []
    told = await desk.explain(enrollment_id=first["enrollment_id"])
    assert [hold["reason"] for hold in told["holds"]] == ["lease_held"]
    assert (await desk.report(second))["status"] == "completed"


async def test_a_campaign_in_which_everybody_is_paused_says_where_to_look(desk: Desk) -> None:
    campaign_id = await desk.campaign({})
    (row,) = (await call(desk.client, "list_enrollments", campaign_id=campaign_id))["enrollments"]
    await call(desk.client, "update_enrollment", enrollment_id=row["id"], action="pause")
    told = await desk.explain(campaign_id=campaign_id)
    assert [hold["reason"] for hold in told["holds"]] == ["nobody_waits"]
    assert "list_enrollments" in told["holds"][0]["detail"]


NIGHT = {"sending_window": {"start": "22:00", "end": "23:00"}}


async def test_where_nobody_waits_that_is_said_before_what_else_holds(desk: Desk) -> None:
    campaign_id = await desk.campaign(NIGHT)
    (row,) = (await call(desk.client, "list_enrollments", campaign_id=campaign_id))["enrollments"]
    reasons: list[list[str]] = []
    for change in (("update_enrollment", {"enrollment_id": row["id"], "action": "pause"}), ("pause_campaign", None)):
        tool, arguments = change
        await call(desk.client, tool, **(arguments or {"campaign_id": campaign_id}))
        told = await desk.explain(campaign_id=campaign_id)
        assert (told["due"], told.get("next_at")) == (False, None)
        reasons.append([hold["reason"] for hold in told["holds"]])
    assert reasons == [["nobody_waits", "outside_window"], ["nobody_waits", "campaign_paused", "outside_window"]]


async def test_a_campaign_that_is_over_says_that_instead(desk: Desk) -> None:
    campaign_id = await desk.campaign({})
    await call(desk.client, "complete_campaign", campaign_id=campaign_id)
    told = await desk.explain(campaign_id=campaign_id)
    assert [hold["reason"] for hold in told["holds"]] == ["campaign_ended"]


async def test_explain_due_takes_one_of_its_two_arguments(desk: Desk) -> None:
    assert "enrollment_id or campaign_id" in await refusal(desk.client, "explain_due")
