"""`doctor`: what it says of healthy and of broken surroundings."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from db.domain.templates import EmailStep
from db.local.store import LocalStore
from db.postgres.database import Database
from migrations import HEAD
from tests.support.campaigns import make_campaign
from tests.support.command_line import Cli


def checks(cli: Cli, code: int, **more: str) -> dict[str, dict[str, Any]]:
    done = cli.run("doctor", "--json", given=None, **more)
    assert done.returncode == code, done.stdout
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["ok"] == (code == 0)
    for check in report["checks"]:
        assert (check["advice"] is None) == (check["verdict"] == "ok"), check
        assert "\n" not in (check["advice"] or "")
    return {check["name"]: check for check in report["checks"]}


def test_a_healthy_installation_is_all_well(cli: Cli) -> None:
    found = checks(cli, 0)
    assert {check["verdict"] for check in found.values()} == {"ok"}
    assert f"schema {HEAD}" in found["database"]["found"]
    assert "ms" in found["database"]["found"]


def test_secrets_are_shown_as_set_and_no_more(offline: Cli) -> None:
    done = offline.run(
        "doctor", SALES_AUTOMATION_TOKEN="a-token-made-for-this-test", SALES_AUTOMATION_START_ATTEMPTS="1"
    )
    assert done.returncode == 1
    assert "a-secret-password" not in done.stdout + done.stderr
    assert "a-token-made" not in done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["SALES_AUTOMATION_TOKEN", "set", "given"] in rows
    assert ["SALES_AUTOMATION_TOKEN_FILE", "unset", "default"] in rows


def test_a_database_that_does_not_answer_fails_with_what_to_do(offline: Cli) -> None:
    found = checks(offline, 1, SALES_AUTOMATION_START_ATTEMPTS="1")
    assert found["database"]["verdict"] == "failed"
    assert "does not answer" in found["database"]["found"]
    assert "DATABASE_URL" in found["database"]["advice"]
    assert found["local store"]["verdict"] == "ok"


def test_an_old_schema_fails_and_is_not_migrated(cli: Cli, fresh_database: str) -> None:
    found = checks(cli, 1, DATABASE_URL=fresh_database, SALES_AUTOMATION_MIGRATE="true")
    assert "sales-automation-mcp migrate" in found["database"]["advice"]
    assert checks(cli, 1, DATABASE_URL=fresh_database)["database"]["verdict"] == "failed"


def test_settings_that_are_wrong_or_misspelt_are_named(cli: Cli) -> None:
    wrong = checks(cli, 1, SALES_AUTOMATION_POOL_SIZE="many")
    assert wrong["settings"]["found"].startswith("SALES_AUTOMATION_POOL_SIZE: ")
    assert "many" not in wrong["settings"]["found"]
    listed = checks(cli, 1, SALES_AUTOMATION_ALLOWED_HOSTS="mcp.example.com")
    assert "SALES_AUTOMATION_ALLOWED_HOSTS: is not a JSON list" in listed["settings"]["found"]
    misspelt = checks(cli, 0, SALES_AUTOMATION_POOLSIZE="3")
    assert misspelt["settings"]["verdict"] == "warning"
    toolsets = checks(cli, 1, SALES_AUTOMATION_TOOLSETS="jobs,sales")
    assert "No toolset sales" in toolsets["toolsets"]["found"]


def test_a_home_that_is_a_file_fails(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = checks(cli, 1, SALES_AUTOMATION_HOME=str(tmp_path / "file"))
    assert found["home"]["verdict"] == "failed"
    assert "local store" not in found
    assert found["database"]["verdict"] == "ok"


def test_a_home_that_others_may_write_to_fails(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    found = checks(cli, 1, SALES_AUTOMATION_HOME=str(tmp_path / "shared"))["home"]
    assert found["found"].startswith("Other users may write to")
    assert "chmod go-w" in found["advice"]


def test_tokens_that_are_short_lost_or_open_are_named(cli: Cli, tmp_path: Path) -> None:
    assert checks(cli, 0, SALES_AUTOMATION_TOKEN="short")["token"]["verdict"] == "warning"
    missing = checks(cli, 1, SALES_AUTOMATION_TOKEN_FILE=str(tmp_path / "none"))
    assert "SALES_AUTOMATION_TOKEN_FILE" in missing["token"]["advice"]
    file = tmp_path / "token"
    file.write_text("\n")
    assert checks(cli, 1, SALES_AUTOMATION_TOKEN_FILE=str(file))["token"]["verdict"] == "failed"
    file.write_text("a-token-made-for-this-test\n")
    file.chmod(0o644)
    assert "chmod 600" in checks(cli, 0, SALES_AUTOMATION_TOKEN_FILE=str(file))["token"]["advice"]
    file.chmod(0o600)
    assert checks(cli, 0, SALES_AUTOMATION_TOKEN_FILE=str(file))["token"]["verdict"] == "ok"


def test_secrets_of_webhooks_that_can_be_guessed_are_named(cli: Cli) -> None:
    long = {
        "SALES_AUTOMATION_WEBHOOK_MAILGUN": "key-made-for-this-test",
        "SALES_AUTOMATION_WEBHOOK_RESEND": f"whsec_{'a' * 32}",
    }
    assert checks(cli, 0, **long)["webhook secrets"]["found"] == "set: mailgun, resend"
    short = {
        "SALES_AUTOMATION_WEBHOOK_BREVO": "a-long-name-of-a-user:pw",
        "SALES_AUTOMATION_WEBHOOK_STANDARD": "whsec_YWJj",
    }
    weak = checks(cli, 0, **long, **short)["webhook secrets"]
    assert weak["verdict"] == "warning"
    assert weak["found"].endswith(": brevo, standard")


def test_tokens_in_the_database_are_seen(cli: Cli) -> None:
    assert "not set" in checks(cli, 0)["token"]["found"]
    assert cli.run("tokens", "create", "me", "--scope", "read").returncode == 0
    assert "kept in the database" in checks(cli, 0)["token"]["found"]


def test_import_directories_that_are_not_there_are_named(cli: Cli, tmp_path: Path) -> None:
    def set_to(folder: Path) -> str:
        return json.dumps([str(folder)])

    (tmp_path / "file").write_text("")
    for wrong in ("none", "file"):
        found = checks(cli, 1, SALES_AUTOMATION_IMPORT_DIRECTORIES=set_to(tmp_path / wrong))
        assert wrong in found["import directories"]["found"]
    assert checks(cli, 0, SALES_AUTOMATION_IMPORT_DIRECTORIES=set_to(tmp_path))["import directories"]["verdict"] == "ok"


def test_a_database_elsewhere_should_demand_tls(offline: Cli) -> None:
    # A reserved name, which no resolver knows: nothing is reached.
    url = "postgresql://nobody@db.invalid/nothing"
    more = {"DATABASE_URL": url, "SALES_AUTOMATION_START_ATTEMPTS": "1"}
    assert checks(offline, 1, **more)["database TLS"]["verdict"] == "warning"
    demanded = {**more, "DATABASE_URL": f"{url}?sslmode=require"}
    assert checks(offline, 1, **demanded)["database TLS"]["verdict"] == "ok"


def test_jobs_that_wait_for_long_or_failed_are_a_warning(cli: Cli, tmp_path: Path) -> None:
    with LocalStore.open(tmp_path / "home") as store:
        then = datetime.now(UTC) - timedelta(hours=2)
        store.jobs.create(type="crm_sync", parameters={}, now=then)
        assert "1 wait" in checks(cli, 0)["queue"]["found"]
        job = store.jobs.claim(worker_id="w", now=datetime.now(UTC))
        assert job is not None
        store.jobs.fail(job.id, job.lease_token, "no", retry=False, now=datetime.now(UTC))
    assert "1 failed" in checks(cli, 0)["queue"]["found"]


def test_the_embedded_database_is_found_and_left(offline: Cli, tmp_path: Path) -> None:
    found = checks(offline, 0, DATABASE_URL="", SALES_AUTOMATION_HOME=str(tmp_path / "own"))
    assert found["binaries"]["verdict"] == "ok"
    assert "embedded" in found["database"]["found"]
    assert not (tmp_path / "own" / "postgres" / "postmaster.pid").exists()


def test_links_that_nobody_can_make_are_warned_of_while_a_campaign_needs_them(cli: Cli, database: Database) -> None:
    assert checks(cli, 0)["unsubscribe links"]["verdict"] == "ok"
    step = EmailStep(1, "Hello", "Stop: {{ unsubscribe_url }}")
    database.run("make", lambda session: make_campaign(session, name="Fairs", email_steps=[step]))
    found = checks(cli, 0)["unsubscribe links"]
    assert (found["verdict"], "pauses everybody in Fairs" in found["found"]) == ("warning", True)
    assert "SALES_AUTOMATION_PUBLIC_URL" in found["advice"]
    assert "unsubscribe links" not in checks(cli, 0, SALES_AUTOMATION_PUBLIC_URL="https://mail.example.com")


def test_a_simulated_time_is_told_by_doctor_and_at_the_start(offline: Cli, tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("2026-03-02T10:00:00+01:00")
    offline.env["SALES_AUTOMATION_CLOCK_FILE"] = str(tmp_path / "clock")
    found = checks(offline, 1, SALES_AUTOMATION_START_ATTEMPTS="1")
    assert found["clock"]["verdict"] == "warning"
    assert "2026-03-02 09:00:00Z" in found["clock"]["found"]
    served = offline.run(given=b"", SALES_AUTOMATION_START_ATTEMPTS="1")
    assert (
        "tells the time, 2026-03-02 09:00:00Z, and mail goes to, and is read from, servers at loopback" in served.stderr
    )
