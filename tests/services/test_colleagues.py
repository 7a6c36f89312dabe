"""What an answer does to others at the same company, where the workspace asks for it."""

from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from db.domain.events import EventType
from db.domain.holds import HoldReason
from db.domain.states import EnrollmentAction
from db.domain.templates import EmailStep
from db.domain.workspace import Colleagues
from db.postgres.database import Database
from db.services.dispatch import explain
from db.services.enrollments import enrollments
from db.services.events import withdrawal
from db.services.ops import settings
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, event, make_campaign, record, state

STEPS = [EmailStep(1, "Hello", "Nice to meet you."), EmailStep(2, "Again", "Nice to meet you.", delay_hours=24)]
ADA, BEN, CLEO = "ada@acme.co.uk", "ben@mail.acme.co.uk", "cleo@other.co.uk"


def ask_for(database: Database, rule: Colleagues) -> None:
    database.run("settings", partial(settings.update, colleagues=rule))


def people(database: Database, *emails: str, start: bool = True) -> list[UUID]:
    make = partial(make_campaign, email_steps=STEPS, start_at=NOW if start else None)
    return enroll(database, database.run("campaign", make), list(emails))


def answer(database: Database, enrollment_id: UUID, key: str = "1") -> None:
    record(database, event(EventType.REPLIED, enrollment_id, hours=1, provider="p", provider_event_id=key))


def take_back(database: Database, *keys: str) -> None:
    work = partial(withdrawal.withdraw, provider="p", provider_event_ids=keys, now=NOW + timedelta(hours=2))
    database.run("withdraw", work)


def told(database: Database, enrollment_id: UUID) -> list[HoldReason]:
    work = partial(explain.enrollment, enrollment_id=enrollment_id, now=NOW)
    return [hold.reason for hold in database.run("explain", work).holds]


def test_nothing_happens_to_colleagues_unless_somebody_asks_for_it(database: Database) -> None:
    ada, ben = people(database, ADA, BEN)
    answer(database, ada)
    assert state(database, ben)["status"] == "active"


def test_colleagues_are_held_in_every_campaign_until_somebody_lets_them_go_on(database: Database) -> None:
    ask_for(database, Colleagues.HOLD)
    ada, ben, cleo = people(database, ADA, BEN, CLEO)
    (elsewhere,) = people(database, BEN, start=False)
    answer(database, ada)
    assert told(database, ben) == [HoldReason.REPLIED_ELSEWHERE]
    assert state(database, elsewhere)["status"] == "paused"
    assert state(database, cleo)["status"] == "active"
    update = partial(enrollments.update, enrollment_id=ben, action=EnrollmentAction.RESUME, now=NOW)
    database.run("resume", update)
    assert told(database, ben) == []
    assert_counters_are_exact(database)


def test_colleagues_are_stopped(database: Database) -> None:
    ask_for(database, Colleagues.STOP)
    ada, ben, cleo = people(database, ADA, BEN, CLEO)
    answer(database, ada)
    assert [state(database, id_)["stop_reason"] for id_ in (ada, ben, cleo)] == ["replied", "colleague_replied", None]
    assert_counters_are_exact(database)


@pytest.mark.parametrize("rule", [Colleagues.HOLD, Colleagues.STOP])
def test_people_at_hosts_of_free_addresses_are_no_colleagues(database: Database, rule: Colleagues) -> None:
    ask_for(database, rule)
    ada, ben = people(database, "ada@gmail.com", "ben@gmail.com")
    answer(database, ada)
    assert state(database, ben)["status"] == "active"


@pytest.mark.parametrize("rule", [Colleagues.HOLD, Colleagues.STOP])
def test_an_answer_that_is_taken_back_lets_colleagues_go_on_as_before(database: Database, rule: Colleagues) -> None:
    ask_for(database, rule)
    ada, ben = people(database, ADA, BEN)
    (elsewhere,) = people(database, BEN, start=False)
    record(database, event(EventType.SENT, ada, step_number=1), event(EventType.SENT, ben, step_number=1))
    before = [state(database, id_) for id_ in (ada, ben)]
    in_draft = state(database, elsewhere)
    answer(database, ada)
    answer(database, ada, "2")
    assert state(database, ben)["status"] != "active"
    take_back(database, "1")
    assert state(database, ben)["status"] != "active", "the other answer stands"
    take_back(database, "2")
    assert [state(database, id_) for id_ in (ada, ben)] == before
    if rule is Colleagues.HOLD:
        assert state(database, elsewhere) == in_draft
    assert_counters_are_exact(database)


def test_two_colleagues_who_answer_together_have_both_answered(database: Database) -> None:
    ask_for(database, Colleagues.STOP)
    ada, ben = people(database, ADA, BEN)
    record(database, event(EventType.REPLIED, ada, hours=1), event(EventType.REPLIED, ben, hours=1))
    assert [state(database, id_)["stop_reason"] for id_ in (ada, ben)] == ["replied", "replied"]


def test_a_colleague_who_was_stopped_and_answers_then_has_answered(database: Database) -> None:
    ask_for(database, Colleagues.STOP)
    ada, ben = people(database, ADA, BEN)
    answer(database, ada)
    answer(database, ben, "2")
    assert state(database, ben)["stop_reason"] == "replied"


def test_who_was_stopped_stays_so_while_another_colleague_has_answered(database: Database) -> None:
    ask_for(database, Colleagues.STOP)
    ada, ben, cleo = people(database, ADA, BEN, "cleo@acme.co.uk")
    record(database, event(EventType.REPLIED, ada, hours=1, provider="p", provider_event_id="1"))
    answer(database, ben, "2")
    take_back(database, "1")
    assert state(database, cleo)["stop_reason"] == "colleague_replied"
    take_back(database, "2")
    assert state(database, cleo)["status"] == "active"
