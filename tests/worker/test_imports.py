"""Import jobs: every row once, whatever happens to the worker on the way."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from db.domain.jobs import JobDetail
from db.postgres.database import Database
from mcp_server.jobs.worker import Worker
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import new_scene
from tests.support.patience import PATIENCE

CHILD = """
import sys, threading
from pathlib import Path
from pydantic import SecretStr
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from mcp_server.jobs.worker import Worker
patient = {"lock_timeout": 600, "statement_timeout": 600}
app = App(Settings(database_url=SecretStr(sys.argv[1]), home=Path(sys.argv[2]), **patient))
Worker(app, poll_seconds=0.05).start()
threading.Event().wait()
"""


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Generator[App]:
    patient: dict[str, Any] = {"lock_timeout": 2 * PATIENCE, "statement_timeout": 2 * PATIENCE}
    made = App(Settings(database_url=SecretStr(database_url), home=tmp_path, **patient))
    yield made
    made.close()


@contextmanager
def working(app: App) -> Generator[None]:
    worker = Worker(app, poll_seconds=0.05)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


@contextmanager
def held_up(database: Database, email: str) -> Generator[None]:
    """Whoever comes to this address meanwhile must wait."""
    with database.engine.connect() as connection:  # which takes it back in the end
        connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        statement = text("INSERT INTO contacts (id, email) VALUES (gen_random_uuid(), :email)")
        connection.execute(statement, {"email": email})
        yield


def create(app: App, **parameters: Any) -> str:
    return app.local().jobs.create(type="import", parameters=parameters, now=datetime.now(UTC)).id


def wait_for(app: App, job_id: str, reached: Callable[[JobDetail], bool]) -> JobDetail:
    """The job once `reached` holds of it, within the time that a test waits."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not reached(job := app.local().jobs.get(job_id, now=datetime.now(UTC))):
        assert time.monotonic() < deadline, job
        pause.wait(0.02)
    return job


def is_over(job: JobDetail) -> bool:
    return job.status in ("completed", "failed", "cancelled")


def has_taken_in(job: JobDetail) -> bool:
    """Whether rows are in the database. Before that, its progress is that of reading."""
    return "rows_done" in str(job.progress)


def result_of(app: App, **parameters: Any) -> dict[str, Any]:
    job_id = create(app, **parameters)
    with working(app):
        job = wait_for(app, job_id, is_over)
    assert job.status == "completed", job.error
    return counts_of(job)


def counts_of(job: JobDetail) -> dict[str, Any]:
    assert isinstance(job.result, dict)
    return cast("dict[str, Any]", job.result)


def test_rows_are_taken_in_enrolled_and_judged(app: App, database: Database) -> None:
    scene = new_scene(database, 0)
    csv = "email,first_name,plan\nzoe@example.com,Zoë,gold\nbad,Bo,\nZOE@example.com,Zoë,gold\nal@example.com,Al,\n"
    result = result_of(app, csv=csv, campaign_id=str(scene.campaign_id))
    assert (result["created"], result["updated"], result["invalid"]) == (2, 1, 1)
    assert (result["enrolled"], result["already_enrolled"]) == (2, 1)
    assert {row["row"]: row["status"] for row in result["rows"]} == {2: "invalid", 3: "already_enrolled"}
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT first_name, attributes ->> 'plan' FROM contacts ORDER BY email")).all()
        noted = session.execute(text("SELECT actor, tool, outcome, ids, request_id FROM audit_log")).one()
    assert [tuple(row) for row in rows] == [("Al", None), ("Zoë", "gold")]
    assert noted[:3] == ("worker", "import", "ok")
    assert noted.ids == {"job": [noted.request_id], "campaign": [str(scene.campaign_id)]}


def test_whom_a_column_says_not_to_write_to_is_suppressed_and_not_enrolled(app: App, database: Database) -> None:
    scene = new_scene(database, 0)
    rows = ["ada@example.com,ada.l@example.com,unsubscribed", "bob@example.com,,subscribed", "cy@example.com,,bounced"]
    csv = "\n".join(["email,Email 2,Phase", *rows, "dee@example.com,,gone", ""])
    result = result_of(app, csv=csv, campaign_id=str(scene.campaign_id), suppress_where=["Phase=gone"])
    assert (result["created"], result["opted_out"], result["suppressed"], result["enrolled"]) == (4, 3, 3, 1)
    assert result["mapping"] == {"email": "email"}
    assert (result["opt_outs"], result["stand_ins"]) == ({"Phase": 3}, {"email": ["Email 2"]})
    assert [(row["line"], row["status"]) for row in result["rows"]] == [(line, "suppressed") for line in (2, 4, 5)]
    with database.transaction("look") as session:
        found = session.execute(text("SELECT email, reason, source FROM suppressions ORDER BY email")).all()
    assert [tuple(row) for row in found] == [
        ("ada.l@example.com", "unsubscribed", "import"),
        ("ada@example.com", "unsubscribed", "import"),
        ("cy@example.com", "bounced", "import"),
        ("dee@example.com", "manual", "import"),
    ]


def test_a_list_is_suppressed_and_stops_whom_it_names(app: App, database: Database) -> None:
    scene = new_scene(database, 3)
    csv = "email,reason\np0@example.com,unsubscribed\np1@example.com,\nx.example,\nbad one,\np1@example.com,\n"
    result = result_of(app, csv=csv, reason="complained", **{"as": "suppressions"})
    assert (result["suppressed"], result["already_suppressed"], result["invalid"]) == (3, 0, 1)
    assert result["stopped_enrollments"] == 2
    assert [(row["line"], row["status"]) for row in result["rows"]] == [(5, "invalid")]
    with database.transaction("look") as session:
        found = session.execute(text("SELECT coalesce(email, domain) AS address, reason FROM suppressions ORDER BY 1"))
        assert [tuple(row) for row in found] == [
            ("p0@example.com", "unsubscribed"),
            ("p1@example.com", "complained"),
            ("x.example", "complained"),
        ]
        running = "SELECT count(*) FROM campaign_enrollments WHERE instance_id = :id AND status = 'active'"
        assert session.scalar(text(running), {"id": scene.campaign_id}) == 1


def test_a_list_is_left_out_of_one_campaign_alone(app: App, database: Database) -> None:
    scene, other = new_scene(database, 2), new_scene(database, 2)
    csv = "email,reason\np0@example.com,\nnew@example.com,unsubscribed\n"
    result = result_of(app, csv=csv, campaign_id=str(scene.campaign_id), **{"as": "suppressions"})
    assert (result["suppressed"], result["stopped_enrollments"]) == (2, 1)
    for campaign, enrolled in ((scene, 0), (other, 1)):
        again = result_of(app, csv="email\nnew@example.com\n", campaign_id=str(campaign.campaign_id))
        assert (again["enrolled"], again["suppressed"]) == (enrolled, 1 - enrolled)
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM suppressions")) == 0
        found = session.execute(text("SELECT address, reason FROM campaign_exclusions ORDER BY address")).all()
    assert [tuple(row) for row in found] == [("new@example.com", "unsubscribed"), ("p0@example.com", "manual")]


def test_a_file_is_read_from_an_allowed_directory_alone(app: App, tmp_path: Path) -> None:
    allowed = tmp_path / "imports"
    allowed.mkdir()
    (allowed / "a.csv").write_text("email;company\na@example.com;Ä GmbH\n", "utf-8-sig")
    job_id = create(app, path=str(allowed / "a.csv"))
    with working(app):
        assert wait_for(app, job_id, is_over).status == "failed"
    app.settings.import_directories = [allowed]
    assert result_of(app, path=str(allowed / "a.csv"))["created"] == 1


def test_an_unknown_campaign_fails_for_good_and_takes_nobody_in(app: App, database: Database) -> None:
    job_id = create(app, csv="email\na@example.com\n", campaign_id=str(uuid4()))
    with working(app):
        job = wait_for(app, job_id, is_over)
    assert (job.status, len(job.history)) == ("failed", 1)
    assert "list_campaigns" in str(job.error)
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM contacts")) == 0


def test_an_import_is_cancelled_between_chunks(app: App, database: Database) -> None:
    rows = "".join(f"p{i}@example.com\n" for i in range(20_000))
    job_id = create(app, csv=f"email\n{rows}")
    with working(app):
        with held_up(database, "p9999@example.com"):
            wait_for(app, job_id, has_taken_in)
            app.local().jobs.cancel(job_id, now=datetime.now(UTC))
        assert wait_for(app, job_id, is_over).status == "cancelled"


def test_a_killed_import_is_finished_by_another_worker_without_a_double(
    app: App, database: Database, database_url: str, tmp_path: Path
) -> None:
    rows = "".join(f"p{i}@example.com\n" for i in range(15_000))
    job_id = create(app, csv=f"email\n{rows}")
    child = subprocess.Popen([sys.executable, "-c", CHILD, database_url, str(tmp_path)], env=dict(os.environ))
    with held_up(database, "p9999@example.com"):
        try:
            wait_for(app, job_id, has_taken_in)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    app.clock = lambda: datetime.now(UTC) + timedelta(hours=1)  # when the lease is over
    with database.transaction("look") as session:
        assert 0 < (session.scalar(text("SELECT count(*) FROM contacts")) or 0) < 15_000
    with working(app):
        job = wait_for(app, job_id, is_over)
    assert job.status == "completed"
    result = counts_of(job)
    assert (result["created"], result["updated"], result["rows_total"]) == (15_000, 0, 15_000)
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM contacts")) == 15_000
