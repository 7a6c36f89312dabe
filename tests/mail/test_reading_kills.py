"""A reader that is killed at any moment loses no mail and counts none twice. bench/reading_kills.py does it longer."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

from mcp_server.process.app import App
from tests.support.dovecot import dovecot, needs_dovecot
from tests.support.reading import replies_of
from tests.support.reading_kills import read_while_killed


@needs_dovecot
def test_each_mail_is_read_once_by_processes_that_are_killed(
    make_app: Callable[..., App], database_url: str, tmp_path: Path
) -> None:
    app = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    with dovecot() as server:
        found = read_while_killed(app, server, database_url, mails=2_000, kills=5, seed=1, restarts=[server.restart])
    assert found.kills >= 3
    assert (found.recorded, found.unrelated, found.pending) == (found.answers, found.others, 0)
    assert replies_of(app) == found.answers
    stopped = text("SELECT count(*) FROM campaign_enrollments WHERE status = 'completed' AND stop_reason = 'replied'")
    assert app.run("look", lambda session: session.scalar(stopped)) == found.answers
