"""The start and the end of a server: what a client waits for, and what comes up by itself."""

import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import anyio.to_thread
import pytest
import typer
from mcp.client import Client
from pydantic import SecretStr

from db.domain.errors import StoreUnavailable
from db.embedded.locks import wait_until
from mcp_server.calls.server import build_server
from mcp_server.cli.session import await_database
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.patience import PATIENCE

LOADED = """
import sys
from mcp_server.process.app import App
from mcp_server.calls.server import build_server
from mcp_server.jobs.worker import Worker
from mcp_server.mail.readers import Readers
from mcp_server.mail.senders import Senders
from mcp_server.process.settings import Settings
app = App(Settings())
build_server(app)
Worker(app), Readers(app), Senders(app)
late = (
    "mcp_server.tools.", "mcp_server.offers.registration", "mcp_server.offers.prompts", "sqlalchemy", "db.local",
    "db.embedded.",
    "prometheus_client",
)
print(*[name for name in sys.modules if name.startswith(late)])
"""


def test_a_server_and_what_works_beside_it_are_built_without_tools_and_without_a_database() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == ""


TOOLS_LOADED = """
import sys
from mcp_server.calls import toolsets
print(any(tool.name == "check_mailbox" for tool in toolsets.mail.tools))
late = (
    "imapclient", "imaplib", "smtplib", "authlib", "mcp_server.mail.connections", "mcp_server.mail.oauth",
    "db.domain.mail.judge", "db.domain.mail.bounces", "db.domain.mail.quoting",
)
print(*[name for name in sys.modules if name.startswith(late)])
"""


def test_a_server_that_uses_no_mailbox_starts_without_clients_and_rules_of_mail() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOOLS_LOADED], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout.split() == ["True"]


@pytest.fixture
def silent() -> Generator[socket.socket]:
    """A listener that answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def unanswered(silent: socket.socket, tmp_path: Path) -> App:
    """An app whose database never answers."""
    url = SecretStr(f"postgresql://ann@127.0.0.1:{silent.getsockname()[1]}/sales")
    return App(Settings(database_url=url, home=tmp_path, start_attempts=1), patience=0.05)


@pytest.mark.anyio
async def test_the_database_is_opened_without_a_call(unanswered: App, silent: socket.socket) -> None:
    async with Client(build_server(unanswered)):
        silent.settimeout(PATIENCE)
        connection, _ = await anyio.to_thread.run_sync(silent.accept)
        connection.close()
        assert await anyio.to_thread.run_sync(wait_until, lambda: unanswered.failure is not None, PATIENCE)
    unanswered.close()


def test_a_start_that_takes_too_long_ends_with_one_line(
    unanswered: App, silent: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        await_database(unanswered)
    assert ended.value.exit_code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "still starting" in said.err
    silent.close()
    assert wait_until(lambda: unanswered.failure is not None, PATIENCE)
    unanswered.close()


def test_a_failure_is_said_once(unanswered: App, silent: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    silent.close()
    with pytest.raises(typer.Exit):
        await_database(App(unanswered.settings))
    assert capsys.readouterr().err.count("does not answer") == 1


def test_each_call_gets_an_error_of_its_own(unanswered: App, silent: socket.socket) -> None:
    silent.close()
    app = App(unanswered.settings)
    errors = [error_of(app.database) for _ in range(2)]
    assert str(errors[0]) == str(errors[1]) == app.failure
    assert errors[0] is not errors[1]
    app.close()


def error_of(call: Callable[[], object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable, match="does not answer") as raised:
        call()
    return raised.value


def run(app: App) -> object:
    return app.run("late", lambda session: session.connection())


@pytest.mark.parametrize("late", [App.start, App.database, App.local, run])
def test_a_closed_app_opens_nothing_again(late: Callable[[App], object], tmp_path: Path) -> None:
    app = App(Settings(home=tmp_path / "home"))
    app.close()
    with pytest.raises(StoreUnavailable, match="stopping"):
        late(app)
    assert not (tmp_path / "home").exists()
