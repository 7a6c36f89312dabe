"""Files of people that a model takes in by one call, without typing their rows again."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.jobs.worker import Worker
from mcp_server.process.app import App
from mcp_server.tools.imports import AT_ONCE_BYTES
from tests.support.patience import PATIENCE
from tests.support.server import call, new_campaign, refusal

pytestmark = pytest.mark.anyio

PEOPLE = """Work Email;First Name;Town;Status
ada@example.com;Ada;Bonn;subscribed
bob@example;Bob;Oslo;subscribed
cyd@example.com;Cyd;Rome;unsubscribed
dan@example.com;Dan;Rome;
"""


async def listed(client: Client, campaign_id: str) -> list[str]:
    rows = (await call(client, "list_enrollments", campaign_id=campaign_id, status="enrolled"))["enrollments"]
    return sorted(row["email"] for row in rows)


async def test_a_csv_is_taken_in_and_told_by_counts_columns_and_problems(client: Client) -> None:
    scene = await new_campaign(client)
    given: dict[str, Any] = {"csv": PEOPLE, "campaign_id": scene["campaign_id"], "idempotency_key": "k"}
    answer = await call(client, "import_contacts", **given)
    assert answer == await call(client, "import_contacts", **given)
    counts = {
        name: answer[name] for name in ("rows_total", "created", "enrolled", "suppressed", "opted_out", "invalid")
    }
    assert counts == {
        "rows_total": 4, "created": 3, "enrolled": 2, "suppressed": 1, "opted_out": 1, "invalid": 1,
    }  # fmt: skip
    assert answer["mapping"] == {"email": "Work Email", "first_name": "First Name"}
    assert answer["attributes"] == ["Town", "Status"]
    assert [(row["row"], row["line"], row["status"]) for row in answer["rows"]] == [
        (2, 3, "invalid"), (3, 4, "suppressed"),
    ]  # fmt: skip
    assert all(row["reason"] for row in answer["rows"])
    assert await listed(client, scene["campaign_id"]) == ["ada@example.com", "dan@example.com"]
    again = await call(client, "import_contacts", csv=PEOPLE, campaign_id=scene["campaign_id"])
    assert (again["created"], again["updated"], again["already_enrolled"]) == (0, 3, 2)


async def test_a_dry_run_says_what_would_be_and_keeps_nothing(client: Client) -> None:
    scene = await new_campaign(client)
    given = {"csv": PEOPLE, "campaign_id": scene["campaign_id"]}
    tried = await call(client, "import_contacts", **given, dry_run=True)
    assert (await call(client, "find_contacts"))["contacts"] == []
    assert (await call(client, "list_suppressions"))["suppressions"] == []
    done = await call(client, "import_contacts", **given)
    assert {**tried, "rows": len(tried["rows"])} == {**done, "dry_run": True, "rows": len(done["rows"])}


async def test_a_mapping_wins_and_a_condition_says_whom_not_to_write_to(client: Client) -> None:
    csv = "Name,Contact,Other,Stage\nAda,ada@example.com,a@example.org,lost\nBo,bo@example.com,b@example.org,open\n"
    answer = await call(
        client,
        "import_contacts",
        csv=csv,
        mapping={"email": "Other", "reserve": 2},
        suppress_where=["Stage=lost"],
    )
    assert answer["mapping"]["email"] == "Other"
    assert (answer["created"], answer["opted_out"]) == (2, 1)
    (held,) = (await call(client, "list_suppressions"))["suppressions"]
    assert held["email"] == "a@example.org"
    (bo,) = (await call(client, "find_contacts", email="b@example.org", detail="full"))["contacts"]
    assert bo["attributes"]["reserve"] == "bo@example.com"
    text = await refusal(client, "import_contacts", csv=csv, mapping={"email": "Mail"})
    assert "no such column: Mail" in text


async def test_of_many_problems_the_first_are_told_and_the_others_counted(client: Client) -> None:
    csv = "email\n" + "no address\n" * 250
    answer = await call(client, "import_contacts", csv=csv)
    assert (answer["invalid"], len(answer["rows"]), answer["rows_left_out"]) == (250, 100, 150)


async def test_what_can_not_be_taken_is_refused_with_what_to_do(client: Client) -> None:
    for wrong in ({}, {"csv": PEOPLE, "path": "people.csv"}, {"csv": PEOPLE, "job_id": "job_1"}):
        assert "exactly one" in await refusal(client, "import_contacts", **wrong)
    assert "SALES_AUTOMATION_IMPORT_DIRECTORIES" in await refusal(client, "import_contacts", path="/etc/passwd")
    assert "campaign" in await refusal(client, "import_contacts", csv=PEOPLE, campaign_id=str(uuid4()))
    assert "email" in await refusal(client, "import_contacts", csv="town\nBonn\n")
    job = await call(client, "create_job", type="enrichment", parameters={})
    assert "not an import" in await refusal(client, "import_contacts", job_id=job["job"]["id"])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "imports"
    folder.mkdir()
    return folder


async def test_a_file_is_read_from_an_import_directory(make_app: Callable[..., App], directory: Path) -> None:
    (directory / "people.csv").write_text(PEOPLE, "utf-16")
    (directory.parent / "other.csv").write_text(PEOPLE)
    app = make_app(import_directories=[directory], toolsets="outreach")
    async with Client(build_server(app)) as client:
        answer = await call(client, "import_contacts", path=str(directory / "people.csv"))
        assert answer["created"] == 3
        assert (await call(client, "import_contacts", path="people.csv"))["updated"] == 3
        assert "outside" in await refusal(client, "import_contacts", path="../other.csv")
        assert "outside" in await refusal(client, "import_contacts", path=str(directory / ".." / "other.csv"))
    async with Client(build_server(make_app(import_directories=[directory], read_only=True))) as client:
        assert "import_contacts" not in {tool.name for tool in (await client.list_tools()).tools}


async def test_a_dry_run_of_a_large_text_tries_as_many_bytes_as_it_says(client: Client) -> None:
    row = f"p@example.com,{'é' * 489}\n"
    size = len(row.encode())
    csv = "email,note\n" + row * (AT_ONCE_BYTES // size + 2)
    assert len(csv) < AT_ONCE_BYTES < len(csv.encode())
    answer = await call(client, "import_contacts", csv=csv, dry_run=True)
    assert answer["notes"][-1] == f"Only the first {AT_ONCE_BYTES:,} bytes of {len(csv.encode()):,} were tried."
    assert answer["rows_total"] == (AT_ONCE_BYTES - len("email,note\n")) // size


async def test_a_large_file_goes_on_as_a_job_that_can_be_asked_about(
    make_app: Callable[..., App], directory: Path
) -> None:
    rows = AT_ONCE_BYTES // 500
    filler = "x" * 500
    lines = [f"p{number}@example.com,{filler}" for number in range(rows)]
    (directory / "many.csv").write_text("Mail,note\n" + "\n".join(lines) + "\nno address,\n")
    app = make_app(import_directories=[directory], toolsets="outreach")
    given = {"path": str(directory / "many.csv"), "mapping": {"email": "Mail"}}
    async with Client(build_server(app)) as client:
        tried = await call(client, "import_contacts", **given, dry_run=True)
        assert 0 < tried["rows_total"] < rows
        assert "were tried" in tried["notes"][-1]
        begun = await call(client, "import_contacts", **given)
        assert begun["job"]["status"] == "pending"
        assert begun.keys() == {"job"}
        worker = Worker(app, poll_seconds=0.05)
        worker.start()
        try:
            asked = await until_done(client, begun["job"]["id"])
        finally:
            await anyio.to_thread.run_sync(worker.stop)
    assert (asked["rows_total"], asked["created"], asked["invalid"]) == (rows + 1, rows, 1)
    assert asked["mapping"] == {"email": "Mail"}
    assert [(row["row"], row["status"]) for row in asked["rows"]] == [(rows + 1, "invalid")]


async def until_done(client: Client, job_id: str) -> dict[str, Any]:
    """What is said of a job once it is over, within the time that a test waits."""
    deadline, pause = time.monotonic() + PATIENCE, threading.Event()
    while (asked := await call(client, "import_contacts", job_id=job_id))["job"]["status"] != "completed":
        assert time.monotonic() < deadline, asked
        await anyio.to_thread.run_sync(pause.wait, 0.05)
    return asked
