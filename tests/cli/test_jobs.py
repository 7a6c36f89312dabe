"""`jobs`: the local queue, looked after without any database."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.local.store import LocalStore
from tests.support.command_line import Cli


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore.open(tmp_path / "home") as opened:
        yield opened


def create(store: LocalStore, **parameters: object) -> str:
    return store.jobs.create(type="discovery", parameters=parameters, now=datetime.now(UTC)).id


def fail(store: LocalStore, error: str) -> None:
    job = store.jobs.claim(worker_id="w", now=datetime.now(UTC))
    assert job is not None
    store.jobs.fail(job.id, job.lease_token, error, retry=False, now=datetime.now(UTC))


def test_jobs_are_listed_newest_first_and_filtered(offline: Cli, store: LocalStore) -> None:
    assert offline.run("jobs", "list").stdout == "No jobs.\n"
    first = create(store)
    fail(store, "no such host")
    second = create(store)
    done = offline.run("jobs", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["Id", second, first]
    assert "no such host" in done.stdout
    failed = json.loads(offline.run("jobs", "list", "--status", "failed", "--json").stdout)
    assert [job["id"] for job in failed["jobs"]] == [first]
    cut = json.loads(offline.run("jobs", "list", "--limit", "1", "--json").stdout)
    assert (len(cut["jobs"]), cut["has_more"]) == (1, True)


def test_a_job_is_shown_and_its_texts_can_not_move_the_terminal(offline: Cli, store: LocalStore) -> None:
    job_id = create(store, query="[bold]x[/bold]")
    fail(store, "\x1b[2J\x9b31m\u202egone\r\nhttp")
    done = offline.run("jobs", "show", job_id)
    assert done.returncode == 0
    assert "[bold]x[/bold]" in done.stdout
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(done.stdout)
    shown = json.loads(offline.run("jobs", "show", job_id, "--json").stdout)["job"]
    assert shown["parameters"] == {"query": "[bold]x[/bold]"}
    assert shown["error"].startswith("\x1b[2J")


def test_jobs_are_cancelled_and_retried(offline: Cli, store: LocalStore) -> None:
    failed = create(store)
    fail(store, "no")
    done = offline.run("jobs", "retry", failed)
    assert (done.returncode, done.stdout) == (0, f"{failed} is pending.\n")
    done = offline.run("jobs", "cancel", failed, "--json")
    assert json.loads(done.stdout)["job"]["status"] == "cancelled"
    under_way = create(store)
    store.jobs.claim(worker_id="w", now=datetime.now(UTC))
    assert offline.run("jobs", "cancel", under_way).stdout == f"{under_way} was told to stop.\n"


@pytest.mark.parametrize("arguments", [("show", "job_99"), ("retry", "job_99"), ("cancel", "ninety")])
def test_what_is_not_there_is_a_failure(offline: Cli, arguments: tuple[str, ...]) -> None:
    done = offline.run("jobs", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sales-automation-mcp: ")


def test_what_its_state_forbids_is_a_failure(offline: Cli, store: LocalStore) -> None:
    job_id = create(store)
    done = offline.run("jobs", "retry", job_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert "job is pending" in done.stderr


def test_a_wrong_status_is_a_usage_error(offline: Cli) -> None:
    done = offline.run("jobs", "list", "--status", "lost")
    assert (done.returncode, done.stdout) == (2, "")
