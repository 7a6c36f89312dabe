"""A campaign that can't be read, since it was changed in SQL, stops no other: it is paused with a reason."""

import logging

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from db.domain.errors import Refused
from db.domain.events import EventType
from db.domain.states import CampaignStatus
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import claims, explain
from db.services.ops import health
from tests.support.campaigns import NOW, assert_counters_are_exact, event, new_scene, state, verdicts
from tests.support.steps import claim, run_sql

# What fits the CHECKs, which can't know the calendar; and a text, which they don't look into.
UNREADABLE = {
    "invalid_settings": """UPDATE campaign_instances SET settings = '{"holidays": ["2026-02-30"]}' WHERE id = :id""",
    "invalid_text": """
        UPDATE email_sequences SET body = '{% if broken by hand' FROM campaign_instances i
        WHERE i.id = :id AND email_sequences.template_id = i.template_id
    """,
}


@pytest.mark.parametrize("reason", UNREADABLE)
def test_an_unreadable_campaign_stops_no_other_and_is_paused(
    database: Database, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    broken, sound = new_scene(database, 3), new_scene(database, 3, domain="sound.example.com")
    before = run_sql(database, "SELECT settings::text FROM campaign_instances WHERE id = :id", id=broken.campaign_id)
    kept = before.scalar_one()
    run_sql(database, UNREADABLE[reason], id=broken.campaign_id)
    with caplog.at_level(logging.ERROR):
        handed = database.run(
            "claim",
            lambda session: claims.claim(session, campaign_id=None, channel=None, limit=10, lease_seconds=60, now=NOW),
        )
    assert {due.enrollment.id for due in handed.actions} == set(sound.enrollments)
    assert str(broken.campaign_id) in {getattr(record, "campaign", None) for record in caplog.records}
    with database.transaction("look") as session:
        campaign = campaigns.get(session, campaign_id=broken.campaign_id)
        assert (campaign.status, (campaign.pause_reason or "").split(":")[0]) == (CampaignStatus.PAUSED, reason)
        assert health.stored(session, now=NOW).unreadable == {str(broken.campaign_id): campaign.pause_reason}
        told = explain.campaign(session, campaign_id=broken.campaign_id, now=NOW)
        assert [hold.reason for hold in told.holds][:2] == ["campaign_paused", reason]
        noted = session.execute(text("SELECT actor, tool, ids FROM audit_log")).all()
    assert noted == [("server", "pause_campaign", {"campaign": [str(broken.campaign_id)]})]
    # Nobody of it is at fault, and what happens to them is recorded all the same.
    assert {state(database, id_)["status"] for id_ in broken.enrollments} == {"active"}
    one, two, _ = broken.enrollments
    assert verdicts(database, event(EventType.UNSUBSCRIBED, one), event(EventType.SENT, two, step_number=1)) == [
        "recorded", "recorded",
    ]  # fmt: skip
    assert state(database, one)["status"] == "unsubscribed"
    assert state(database, two)["current_step"] == 1
    assert_counters_are_exact(database)

    def start() -> None:
        database.run("start", lambda session: campaigns.start(session, campaign_id=broken.campaign_id, now=NOW))

    with pytest.raises(Refused, match=reason):
        start()
    run_sql(database, "UPDATE campaign_instances SET settings = CAST(:kept AS jsonb) WHERE id = :id",
            kept=kept, id=broken.campaign_id)  # fmt: skip
    run_sql(database, "UPDATE email_sequences SET body = 'A body that is whole again'")
    start()
    assert [due.enrollment.id for due in claim(database, broken.campaign_id)] == [broken.enrollments[2]]
    with database.transaction("look") as session:
        assert campaigns.get(session, campaign_id=broken.campaign_id).pause_reason is None


def test_who_asks_for_an_unreadable_campaign_alone_hears_that_nothing_is_due(database: Database) -> None:
    scene = new_scene(database, 1)
    run_sql(database, UNREADABLE["invalid_settings"], id=scene.campaign_id)
    assert claim(database, scene.campaign_id) == []
    assert run_sql(database, "SELECT status FROM campaign_instances").scalars().all() == ["paused"]


@pytest.mark.parametrize(
    "settings",
    [
        '{"holidays": ["x"]}', '{"holidays": 5}', '{"sending_window": 5}', '{"daily_limit": "ten"}',
        '{"daily_limit": 1.5}', '{"daily_limit": [5]}', '{"min_gap_seconds": -1}', '{"dayly_limit": 5}',
        '{"sending_window": {"days": ["mon"], "start": "9", "end": "17:00"}}', '{"variables": {"a": {}}}',
        '{"sending_window": {"start": "09:00", "end": "17:00"}}', '{"senders": {"email": {"daily_limit": 5}}}',
        '{"timezone": ""}', '{"ramp_up": {"start": 1}}', '{"use_contact_timezone": "yes"}', '{"variables": {"1": 1}}',
    ],
)  # fmt: skip
def test_settings_of_another_shape_are_refused_by_the_database(database: Database, settings: str) -> None:
    new_scene(database, 0)
    with pytest.raises(IntegrityError, match="ck_campaign_instances_settings_"):
        run_sql(database, "UPDATE campaign_instances SET settings = CAST(:given AS jsonb)", given=settings)


@pytest.mark.parametrize("subject", ["  ", "Hello\nBcc: all@example.com", "One\rTwo", "One\u2028Two"])
def test_a_subject_that_is_no_line_is_refused_by_the_database(database: Database, subject: str) -> None:
    new_scene(database, 0)
    with pytest.raises(IntegrityError, match="ck_email_sequences_subject_"):
        run_sql(database, "UPDATE email_sequences SET subject = :given", given=subject)
