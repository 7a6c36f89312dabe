"""Agents side by side: steps are sent at most once, and nobody is written to after they have said no."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from db.domain.events import EventType
from db.domain.metrics import GroupBy
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.events import events
from db.services.reports import metrics
from tests.support.agent_process import Clock
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, event, make_campaign
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent.parent
PEOPLE = 1_200
STEPS = 3
# A lease of an hour lasts three seconds here.
SPEED = 1_200
LONG = 3 * PATIENCE


class Wish(NamedTuple):
    """Who asked to be left alone, and when that was acknowledged."""

    enrollment: str
    at: float


class Pause(NamedTuple):
    """From the acknowledged pause to the call that resumed."""

    since: float
    until: float


@contextmanager
def agents(url: str, logs: list[Path], origin: float) -> Generator[list[subprocess.Popen[str]]]:
    """Agents at work, one a log; they are told to stop in the end, and killed if they don't."""
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.agent_process",
                url,
                str(log),
                NOW.isoformat(),
                str(origin),
                str(SPEED),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for log in logs
    ]
    try:
        for agent in running:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "ready\n"
        for agent in running:
            assert agent.stdin is not None
            agent.stdin.write("\n")
            agent.stdin.flush()
        yield running
        for agent in running:
            agent.communicate(timeout=PATIENCE)
    finally:
        for agent in running:
            if agent.poll() is None:
                agent.kill()
            agent.communicate()


def sent_so_far(database: Database) -> int:
    with database.transaction("look") as session:
        return session.scalar(text("SELECT count(*) FROM campaign_events WHERE event_type = 'sent'")) or 0


def open_so_far(database: Database) -> int:
    with database.transaction("look") as session:
        statement = "SELECT count(*) FROM campaign_enrollments WHERE status IN ('enrolled', 'active', 'paused')"
        return session.scalar(text(statement)) or 0


def disturb(database: Database, campaign_id: UUID, people: list[UUID], clock: Clock) -> tuple[list[Wish], list[Pause]]:
    """People unsubscribe in between, and the campaign is paused and resumed, until nobody waits for a step."""
    dice = random.Random(7)
    wishes: list[Wish] = []
    pauses: list[Pause] = []
    unheard = dice.sample(people, 150)
    deadline = time.monotonic() + LONG
    while open_so_far(database):
        assert time.monotonic() < deadline, f"{open_so_far(database)} enrollments still wait"
        for who in [unheard.pop() for _ in range(min(3, len(unheard)))]:
            wish = event(EventType.UNSUBSCRIBED, who, provider="page", provider_event_id=str(who))
            wish.occurred_at = clock()
            database.run("unsubscribe", partial(events.record_events, events=[wish]))
            wishes.append(Wish(str(who), time.monotonic()))
        if len(pauses) < 10 and dice.random() < 0.3:
            database.run("pause", partial(campaigns.pause, campaign_id=campaign_id, now=clock()))
            since, seen = time.monotonic(), sent_so_far(database)
            # What was claimed before the pause is still reported; then nothing moves.
            while sent_so_far(database) != seen:
                seen = sent_so_far(database)
            until = time.monotonic()
            database.run("resume", partial(campaigns.start, campaign_id=campaign_id, now=clock()))
            pauses.append(Pause(since, until))
    return wishes, pauses


def facts(logs: list[Path]) -> list[dict[str, Any]]:
    """What the agents wrote; the line that a kill has cut is left out."""
    lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_agents_send_each_step_once_while_people_leave_and_one_agent_dies(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    steps = [EmailStep(number, "Hello", f"Step {number} of three") for number in range(1, STEPS + 1)]
    campaign_id = database.run("campaign", partial(make_campaign, email_steps=steps))
    people = enroll(database, campaign_id, [f"p{number}@example.com" for number in range(PEOPLE)])
    logs = [tmp_path / f"agent-{number}" for number in range(4)]
    origin = time.monotonic()
    with agents(database_url, logs, origin) as running:
        while sent_so_far(database) < 300:
            assert time.monotonic() < origin + LONG
        running[random.Random(3).randrange(4)].kill()
        wishes, pauses = disturb(database, campaign_id, people, Clock(NOW, origin, SPEED))
    told = facts(logs)
    assert len(wishes) == 150
    assert pauses
    assert_nobody_was_claimed_out_of_turn(told, wishes, pauses)
    accepted = Counter(tuple(line["sent"]) for line in told if "sent" in line)
    assert max(accepted.values()) == 1
    assert_the_books_are_right(database, {wish.enrollment for wish in wishes}, accepted)
    assert_counters_are_exact(database)


def assert_nobody_was_claimed_out_of_turn(told: list[dict[str, Any]], wishes: list[Wish], pauses: list[Pause]) -> None:
    heard = {wish.enrollment: wish.at for wish in wishes}
    for claim in (line for line in told if line.get("claimed")):
        late = [who for who in claim["claimed"] if heard.get(who, claim["began"]) < claim["began"]]
        assert late == []
        assert not [pause for pause in pauses if pause.since < claim["began"] and claim["ended"] < pause.until]


def assert_the_books_are_right(database: Database, left: set[str], accepted: Counter[tuple[Any, ...]]) -> None:
    """At most one send a step; every enrollment is where its events say; every report that was accepted is there."""
    with database.transaction("look") as session:
        rows = session.execute(
            text("SELECT enrollment_id, step_number FROM campaign_events WHERE event_type = 'sent'")
        ).all()
        states = session.execute(text("SELECT id, status, stop_reason, current_step FROM campaign_enrollments")).all()
        (campaign_id,) = session.scalars(text("SELECT id FROM campaign_instances"))
        report = metrics.report(session, campaign_id=campaign_id, group_by=GroupBy.STEP, since=None, until=None)
    sent = Counter((str(who), step) for who, step in rows)
    told = {group.key: group.totals["sent"] for group in report.groups if group.totals["sent"]}
    assert told == {str(step): count for step, count in Counter(step for _, step in rows).items()}
    assert max(sent.values()) == 1
    assert set(accepted) <= set(sent)
    steps = Counter(who for who, _ in sent)
    for who, status, reason, current in states:
        # A step that was claimed before the wish and reported after it is on record, and moves nothing any more.
        assert current == steps[str(who)] or (str(who) in left and current == steps[str(who)] - 1)
        finished = steps[str(who)] == STEPS
        expected = ("unsubscribed", "unsubscribed") if str(who) in left else ("completed", "finished")
        assert (status, reason) == expected
        assert finished or status == "unsubscribed"
