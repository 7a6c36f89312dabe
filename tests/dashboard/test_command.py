"""`dashboard` on the command line: a dashboard of its own, or a link for a server that runs."""

import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from sqlalchemy import text

from db.domain.access import Scope
from db.embedded.locks import wait_until
from db.postgres.database import Database
from tests.support.command_line import COMMAND, Cli
from tests.support.patience import PATIENCE
from tests.support.processes import http_server
from tests.support.tokens import new_token

_SECRETS = text("SELECT name FROM secrets WHERE name = 'dashboard'")


@pytest.fixture
def cli(database_url: str, tmp_path: Path) -> Cli:
    return Cli(database_url, tmp_path / "home")


@contextmanager
def started(cli: Cli, *arguments: str, **more: str) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """(the link, the process) of a dashboard that serves itself."""
    process = subprocess.Popen(
        [*COMMAND, "dashboard", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**cli.env, **more},
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_it_serves_the_dashboard_to_whoever_has_the_link_until_it_is_interrupted(cli: Cli) -> None:
    with started(cli, "--no-open") as (link, process):
        base = link.partition("/dashboard/login?code=")[0]
        assert base.startswith("http://127.0.0.1:")
        with httpx.Client(timeout=PATIENCE) as stranger:
            assert stranger.get(f"{base}/dashboard/api/campaigns").status_code == 401
        with httpx.Client(timeout=PATIENCE, follow_redirects=True) as visitor:
            assert visitor.get(link).status_code == 200
            assert visitor.get(f"{base}/dashboard/api/campaigns").json() == {"campaigns": []}
            assert visitor.post(f"{base}/mcp").status_code in (401, 404)
        with httpx.Client(timeout=PATIENCE) as second:
            assert second.get(link).status_code == 403
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert "Traceback" not in said
        assert "Ctrl-C" in said


def test_it_writes_nothing_into_the_database(cli: Cli, database: Database) -> None:
    with started(cli, "--no-open"):
        assert database.run("look", lambda session: session.execute(_SECRETS).all()) == []


def test_it_opens_the_link_in_the_browser(cli: Cli, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" > {opened}\n')
    script.chmod(0o755)
    with started(cli, BROWSER=f"{script} %s") as (link, _):
        wait_until(lambda: opened.exists() and opened.read_text().endswith("\n"), PATIENCE)
        assert opened.read_text().strip() == link


def test_a_link_for_a_running_server_signs_in_there(cli: Cli, database: Database, database_url: str) -> None:
    new_token(database, "somebody", Scope.READ)
    with http_server(database_url) as base, httpx.Client(timeout=PATIENCE, follow_redirects=True) as visitor:
        assert visitor.get(f"{base}/dashboard/api/campaigns").status_code == 401
        done = cli.run("dashboard", "--url", base, "--no-open")
        assert done.returncode == 0
        link = done.stdout.strip()
        assert link.startswith(f"{base}/dashboard/login?code=")
        assert visitor.get(link).status_code == 200
        assert visitor.get(f"{base}/dashboard/api/campaigns").status_code == 200


def test_all_sessions_can_be_ended(cli: Cli) -> None:
    done = cli.run("dashboard", "--sign-out-all")
    assert (done.returncode, "has ended" in done.stdout) == (0, True)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://127.0.0.1/other", "http://a:b@127.0.0.1"])
def test_an_address_that_can_not_be_one_is_refused(cli: Cli, url: str) -> None:
    done = cli.run("dashboard", "--url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--url" in done.stderr
