"""A server that sends as it serves, and ends the mail under way when its client goes."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from db.embedded.locks import wait_until
from mcp_server.__main__ import _background  # pyright: ignore[reportPrivateUsage] - no process of its own
from mcp_server.process.app import App
from tests.support.command_line import Cli
from tests.support.mail_servers import smtp_server
from tests.support.patience import PATIENCE
from tests.support.processes import COMMAND
from tests.support.reading import ANN
from tests.support.sending import connect, enrolled, sender_environment, statuses


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(["serve", "--send"], {}), ([], {"SALES_AUTOMATION_SEND": "true"})],
    ids=["option", "variable"],
)
def test_a_server_sends_if_it_is_told_to_and_ends_within_ten_seconds_of_its_client(
    make_app: Callable[..., App],
    database_url: str,
    tmp_path: Path,
    arguments: list[str],
    variables: dict[str, str],
) -> None:
    app = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    env = sender_environment(database_url, tmp_path, **variables)
    with smtp_server({ANN: "secret"}) as server:
        connect(app, server.port)
        enrolled(app, 3)
        server.waits = threading.Event()
        with subprocess.Popen(
            [*COMMAND, *arguments], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            assert wait_until(lambda: len(server.taken) == 1, PATIENCE)
            threading.Timer(1.0, server.waits.set).start()
            began = time.monotonic()
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
            took = time.monotonic() - began
            told = process.stderr.read().decode()
        assert took < 20  # ten seconds, and as much again for a crowded machine
        assert "people without a mailbox yet: 3 emails due" in told
        assert statuses(app) == ["sent", "queued", "queued"]
        assert len(server.taken) == 1


@pytest.mark.parametrize("read_only", [False, True])
def test_a_server_that_only_reads_works_on_no_mailbox(make_app: Callable[..., App], read_only: bool) -> None:
    with _background(make_app(send=True, read_only=read_only), include_overdue=False):
        running = {thread.name for thread in threading.enumerate()}
    assert {"mail-senders", "mail-readers"} & running == (set() if read_only else {"mail-senders", "mail-readers"})


def test_what_is_overdue_is_let_go_where_something_is_sent(database_url: str, tmp_path: Path) -> None:
    refused = Cli(database_url, tmp_path).run("serve", "--include-overdue")
    assert (refused.returncode, "add --send" in refused.stderr) == (2, True)
