"""Many suppressions at once, and exclusions: whom one campaign leaves out, and no other."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.events import EventType
from db.domain.states import SuppressionReason, SuppressVerdict
from db.postgres.database import Database
from db.services.dispatch import claims, explain
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.people import contacts, exclusions, suppression_lists
from tests.support.campaigns import NOW, enroll, event, new_scene, record, state, statements_of
from tests.support.traces import everything

JANE = "p0@example.com"
LINK = "https://www.linkedin.com/in/jane"
MANUAL, UNSUBSCRIBED = SuppressionReason.MANUAL, SuppressionReason.UNSUBSCRIBED
MADE, KNOWN, REFUSED = SuppressVerdict
HOUR = timedelta(hours=1)
TARGETS = [SuppressionTarget(email=JANE), SuppressionTarget(domain="example.com"), SuppressionTarget(linkedin_url=LINK)]


def suppress_all(
    database: Database, *targets: SuppressionTarget, reason: SuppressionReason = MANUAL, **more: Any
) -> tuple[list[SuppressVerdict], int]:
    """(the verdict on each, how many enrollments were stopped)"""
    given = dict.fromkeys(targets, reason)
    done = database.run("suppress", partial(suppression_lists.suppress_all, reasons=given, source="a list", **more))
    return [*done.of_rows(dict(enumerate(targets))).values()], done.stopped_enrollments


def exclude(
    database: Database, campaign_id: UUID, *targets: SuppressionTarget, reason: SuppressionReason = MANUAL
) -> tuple[list[SuppressVerdict], int]:
    """(the verdict on each, how many enrollments were stopped)"""
    work = partial(exclusions.exclude_all, campaign_id=campaign_id, targets=targets, reason=reason, source="a list")
    done = database.run("exclude", work)
    return [*done.of_rows(dict(enumerate(targets))).values()], done.stopped_enrollments


def held(database: Database) -> dict[str, str]:
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT coalesce(email, domain, linkedin_url), reason FROM suppressions"))
        return dict(tuple(row) for row in rows)


def verdict_of(database: Database, campaign_id: UUID) -> str:
    """What an enrolment of Jane says."""
    people = {0: ContactRef(None, ContactFields(email=JANE, linkedin_url=LINK))}
    work = partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=None, now=NOW)
    (one,) = database.run("enroll", work).values()
    return one.reason or str(one.verdict)


def test_many_are_suppressed_at_once_and_each_is_told_what_became_of_it(database: Database) -> None:
    scene = new_scene(database, 3)
    record(database, event(EventType.COMPLAINED, scene.enrollments[2]))
    given = [
        SuppressionTarget(email="p0@example.com"),
        SuppressionTarget(domain="example.org"),
        SuppressionTarget(
            linkedin_url=LINK.upper().replace("HTTPS://WWW.LINKEDIN.COM/IN", "https://www.linkedin.com/in")
        ),
        SuppressionTarget(linkedin_url=LINK),
        SuppressionTarget(email="p2@example.com"),
        SuppressionTarget(email="p0@example.com"),
    ]
    verdicts, stopped = suppress_all(database, *given)
    assert verdicts == [MADE, MADE, MADE, KNOWN, KNOWN, KNOWN]
    assert stopped == 1
    assert [state(database, enrollment_id)["status"] for enrollment_id in scene.enrollments] == [
        "unsubscribed",
        "active",
        "unsubscribed",
    ]
    assert {name.lower(): reason for name, reason in held(database).items()} == {
        "p0@example.com": "manual", "example.org": "manual", LINK: "manual", "p2@example.com": "complained",
    }  # fmt: skip
    assert suppress_all(database, *given) == ([KNOWN] * 6, 0)


def test_of_many_only_those_that_hold_for_good_are_refused_an_end(database: Database) -> None:
    suppress_all(database, SuppressionTarget(email="a@example.com"), reason=UNSUBSCRIBED)
    suppress_all(database, SuppressionTarget(email="b@example.com"))
    people = [SuppressionTarget(email=f"{name}@example.com") for name in "abc"]
    assert suppress_all(database, *people, expires_at=NOW + HOUR)[0] == [REFUSED, KNOWN, MADE]
    with database.transaction("look") as session:
        ends = dict(tuple(row) for row in session.execute(text("SELECT email, expires_at FROM suppressions")))
    assert ends == {"a@example.com": None, "b@example.com": NOW + HOUR, "c@example.com": NOW + HOUR}
    with pytest.raises(InvalidInput, match="reason manual alone"):
        suppress_all(database, *people, reason=UNSUBSCRIBED, expires_at=NOW + HOUR)


def test_a_wish_of_many_goes_with_each_to_every_address(database: Database) -> None:
    people = {n: ContactFields(f"p{n}@example.com", f"{LINK}-{n}") for n in range(3)}
    database.run("known", partial(contacts.find_or_create, people=people, overwrite=True))
    moved = {n: ContactFields(f"new{n}@example.com", f"{LINK}-{n}") for n in range(3)}
    database.run("moved", partial(contacts.find_or_create, people=moved, overwrite=True))
    suppress_all(database, *(SuppressionTarget(linkedin_url=f"{LINK}-{n}") for n in range(2)), reason=UNSUBSCRIBED)
    assert held(database) == dict.fromkeys(
        [f"{LINK}-{n}" for n in range(2)] + [f"p{n}@example.com" for n in range(2)], "unsubscribed"
    )


def test_a_thousand_take_no_more_statements_than_ten(database: Database) -> None:
    campaign_id = new_scene(database, 0).campaign_id

    def statements(count: int) -> int:
        enroll(database, campaign_id, [f"{count}-{n}@example.com" for n in range(count)])
        targets = [SuppressionTarget(email=f"{count}-{n}@example.com") for n in range(count)]
        targets += [SuppressionTarget(domain=f"{count}-{n}.example") for n in range(count)]
        done = partial(suppress_all, database, *targets, reason=UNSUBSCRIBED)
        return len(statements_of(database, lambda: (exclude(database, campaign_id, *targets), done())))

    few = statements(10)
    assert statements(1_000) <= few


@pytest.mark.parametrize("target", TARGETS)
def test_one_campaign_leaves_somebody_out_and_no_other_does(database: Database, target: SuppressionTarget) -> None:
    here, there = new_scene(database, 0).campaign_id, new_scene(database, 0).campaign_id
    assert exclude(database, here, target) == ([MADE], 0)
    assert exclude(database, here, target) == ([KNOWN], 0)
    assert verdict_of(database, here) == "excluded from this campaign: manual"
    assert verdict_of(database, there) == "enrolled"
    lift = partial(exclusions.lift, campaign_id=here, target=target, has_new_consent=False)
    assert database.run("lift", lift).campaign_id == here
    assert verdict_of(database, here) == "enrolled"
    with pytest.raises(NotFound, match="list_suppressions"):
        database.run("lift", lift)


@pytest.mark.parametrize("target", TARGETS)
def test_an_exclusion_stops_the_enrollment_of_its_campaign_alone(database: Database, target: SuppressionTarget) -> None:
    here, there = new_scene(database, 0).campaign_id, new_scene(database, 0).campaign_id
    people = {0: ContactRef(None, ContactFields(email=JANE, linkedin_url=LINK))}
    ids: Mapping[UUID, UUID] = {
        campaign_id: database.run(
            "enroll", partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=None, now=NOW)
        )[0].enrollment_id
        or uuid4()
        for campaign_id in (here, there)
    }
    assert exclude(database, here, target) == ([MADE], 1)
    assert state(database, ids[here])["stop_reason"] == "suppressed"
    assert state(database, ids[there])["status"] == "active"
    claim = partial(claims.claim, campaign_id=None, channel=None, limit=9, lease_seconds=60, now=NOW + HOUR)
    assert [due.enrollment.id for due in database.run("claim", claim).actions] == [ids[there]]


def test_a_claim_looks_again_and_the_explanation_says_why(database: Database) -> None:
    scene = new_scene(database, 1)
    row = {"campaign": scene.campaign_id, "id": uuid4(), "address": JANE}
    with database.transaction("by another program") as session:
        session.execute(
            text(
                "INSERT INTO campaign_exclusions (instance_id, id, address, reason) "
                "VALUES (:campaign, :id, :address, 'manual')"
            ),
            row,
        )
    with database.transaction("look") as session:
        told = explain.enrollment(session, enrollment_id=scene.enrollments[0], now=NOW + HOUR)
    assert [(hold.reason, hold.detail) for hold in told.holds] == [
        ("suppressed", "The person is excluded from this campaign (manual).")
    ]
    claim = partial(claims.claim, campaign_id=None, channel=None, limit=9, lease_seconds=60, now=NOW + HOUR)
    assert database.run("claim", claim).actions == []
    assert state(database, scene.enrollments[0])["stop_reason"] == "suppressed"


def test_an_exclusion_goes_with_the_person_to_a_new_address(database: Database) -> None:
    campaign_id = new_scene(database, 0).campaign_id
    for email in (JANE, "new@example.org"):
        people = {0: ContactFields(email=email, linkedin_url=LINK)}
        database.run("known", partial(contacts.find_or_create, people=people, overwrite=True))
    exclude(database, campaign_id, SuppressionTarget(email=JANE))
    people = {0: ContactRef(None, ContactFields(email="new@example.org"))}
    work = partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=None, now=NOW)
    assert database.run("enroll", work)[0].verdict == "suppressed"


def test_a_wish_is_kept_and_lifted_by_consent_alone(database: Database) -> None:
    campaign_id = new_scene(database, 0).campaign_id
    target = SuppressionTarget(email=JANE)
    exclude(database, campaign_id, target, reason=UNSUBSCRIBED)
    exclude(database, campaign_id, target, reason=MANUAL)
    lift = partial(exclusions.lift, campaign_id=campaign_id, target=target)
    with pytest.raises(Refused, match=r"reason unsubscribed.*has_new_consent=true"):
        database.run("lift", partial(lift, has_new_consent=False))
    database.run("lift", partial(lift, has_new_consent=True))
    assert verdict_of(database, campaign_id) == "enrolled"


def test_an_erasure_takes_exclusions_along(database: Database) -> None:
    campaign_id = new_scene(database, 0).campaign_id
    target = SuppressionTarget(email="zebulon@example.org")
    exclude(database, campaign_id, target)
    erased = database.run("erase", partial(erasure.erase, target=target, now=NOW))
    assert erased.suppressions == 1
    assert exclude(database, campaign_id, target) == ([KNOWN], 0)
    assert suppress_all(database, target) == ([KNOWN], 0)
    assert "zebulon" not in everything(database)


def test_an_exclusion_needs_its_campaign(database: Database) -> None:
    with pytest.raises(NotFound, match="campaign"):
        exclude(database, uuid4(), SuppressionTarget(email=JANE))
