"""The queue and the events of all campaigns at once: in order, page by page, each row once."""

from datetime import timedelta
from uuid import UUID

import pytest

from db.domain.errors import InvalidInput, NotFound
from db.domain.events import EventType
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.reports import overview
from db.services.reports.overview import Happened, Waiting
from tests.support.campaigns import NOW, enroll, event, new_scene, record


def queue(database: Database, campaign_id: UUID | None, limit: int = 100) -> list[Waiting]:
    """All of it, page by page."""
    found: list[Waiting] = []
    cursor: str | None = None
    while True:
        page = database.run(
            "look",
            lambda session, at=cursor: overview.waiting(session, campaign_id=campaign_id, limit=limit, cursor=at),
        )
        found += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return found


def latest(database: Database, **arguments: UUID | None) -> list[Happened]:
    return list(database.run("look", lambda session: overview.latest(session, limit=100, **arguments)))


def test_the_queue_of_all_campaigns_is_one_line(database: Database) -> None:
    first, second = new_scene(database, 3, domain="one.example"), new_scene(database, 4, domain="two.example")
    whole = queue(database, None)
    assert whole == queue(database, None, limit=2)
    assert [(row.next_action_at, row.enrollment_id) for row in whole] == sorted(
        (row.next_action_at, row.enrollment_id) for row in whole
    )
    assert {row.enrollment_id for row in whole} == {*first.enrollments, *second.enrollments}
    assert {row.enrollment_id for row in queue(database, second.campaign_id)} == set(second.enrollments)


def test_only_active_campaigns_queue(database: Database) -> None:
    scene = new_scene(database, 2)
    new_scene(database, 2, start=False, domain="draft.example")
    assert len(queue(database, None)) == 2
    database.run("pause", lambda session: campaigns.pause(session, campaign_id=scene.campaign_id, now=NOW))
    assert queue(database, None) == queue(database, scene.campaign_id) == []


def test_due_steps_are_counted_up_to_a_bound(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    new_scene(database, 5)

    def due(seconds: int) -> int:
        now = NOW + timedelta(seconds=seconds)
        return database.run("count", lambda session: overview.count_due(session, campaign_id=None, now=now))

    assert (due(-1), due(0)) == (0, 5)
    monkeypatch.setattr(overview, "MOST_COUNTED", 3)
    assert due(0) == 4


def test_events_of_all_campaigns_come_newest_first_and_from_where_one_was(database: Database) -> None:
    first, second = new_scene(database, 1, domain="one.example"), new_scene(database, 1, domain="two.example")
    for scene in (first, second, first):
        kind = EventType.OPENED if latest(database) else EventType.SENT
        record(database, event(kind, scene.enrollments[0], step_number=1))
    found = latest(database)
    assert [row.campaign_id for row in found] == [first.campaign_id, second.campaign_id, first.campaign_id]
    assert found[0].address == "p0@one.example"
    assert latest(database, after=found[1].id) == found[:1]
    assert latest(database, before=found[1].id) == found[2:]
    assert latest(database, campaign_id=second.campaign_id) == [found[1]]


def test_a_name_is_shown_where_there_is_one(database: Database) -> None:
    scene = new_scene(database, 0)
    enroll(database, scene.campaign_id, ["nameless@example.com"])
    (row,) = queue(database, None)
    assert (row.name, row.address) == (None, "nameless@example.com")


def test_cursors_of_other_lists_and_unknown_campaigns_are_refused(database: Database) -> None:
    def look(campaign_id: UUID | None, cursor: str | None) -> None:
        database.run(
            "look",
            lambda session: overview.waiting(session, campaign_id=campaign_id, limit=1, cursor=cursor),
        )

    with pytest.raises(InvalidInput, match="cursor"):
        look(None, "bm90IGEgY3Vyc29y")
    with pytest.raises(NotFound):
        look(UUID(int=1), None)
