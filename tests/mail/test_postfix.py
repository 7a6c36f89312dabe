"""Mails that Postfix takes from a sender that is killed, and returns: its own reports are read back, and tell what the
killed sender could not. bench/sending_kills.py --postfix does it longer."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from mcp_server.mail import once
from mcp_server.process.app import App
from tests.support.dovecot import dovecot, needs_dovecot
from tests.support.embedded import eventually
from tests.support.killed_sender import killed_senders
from tests.support.postfix import needs_postfix, postfix
from tests.support.reading import ANN, expire_leases
from tests.support.sending import books, connect, enrolled, sender_environment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
RETURNED = {"gone.example.net": "5.1.1 No such user here.", "full.example.net": "5.2.2 The mailbox is full."}
KILLED = "eve@gone.example.net"
OTHERS = ["bob@people.example.net", "joe@full.example.net"]
_JUDGED = text("""
    SELECT c.email, m.bounce FROM messages m JOIN campaign_enrollments e ON e.id = m.enrollment_id
    JOIN contacts c ON c.id = e.contact_id WHERE m.direction = 'in'
""")


@needs_dovecot
@needs_postfix
def test_reports_of_postfix_are_understood_and_tell_what_a_killed_sender_has_sent(
    make_app: Callable[..., App], database_url: str, tmp_path: Path
) -> None:
    app = make_app(home=tmp_path, allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    with (
        dovecot("maildir:~/Maildir") as imap,
        postfix(imap, addresses=[ANN], catch_all={"people.example.net": "people"}, returned=RETURNED) as server,
        killed_senders(sender_environment(database_url, tmp_path)) as senders,
    ):
        connect(app, server.port, imap.port, imap_user="ann")
        enrolled(app, [KILLED])
        assert senders.run("after content") == -9
        enrolled(app, OTHERS)
        expire_leases(app)
        assert senders.run() == 0
        eventually(server.is_done, "Postfix has delivered or returned all mails")
        once.read_all(app)
        assert [sent.status for sent in books(app)] == ["sent", "sent", "sent"]
        judged = app.run("look", lambda session: session.execute(_JUDGED).all())
        assert {tuple(row) for row in judged} == {(KILLED, "hard"), (OTHERS[1], "full")}
        with imap.client("people") as client:
            client.select_folder("INBOX")
            assert len(client.search(["ALL"])) == 1
