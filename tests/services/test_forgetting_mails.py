"""Mails that came in go with their person, and with their age."""

from datetime import timedelta
from functools import partial

from db.domain.mail import Envelope
from db.postgres.database import Database
from db.services.erasure import erasure
from db.services.mail import incoming, matching
from db.services.mail.incoming import FetchedMail
from db.services.state import message_rows
from tests.support.campaigns import NOW
from tests.support.incoming import Inbox, bounce, id_of, look, mail, new_inbox

LATER = NOW + timedelta(hours=3)


def erase(inbox: Inbox, email: str) -> None:
    ((contact_id,),) = look(inbox.database, f"SELECT id FROM contacts WHERE email = '{email}'")
    inbox.database.run("erase", partial(erasure.erase, contact_id=contact_id, now=LATER))


def kept(database: Database) -> tuple[int, int, int]:
    """How many mails are kept that came in, bodies of them, and threads."""
    counts = (
        "SELECT count(*) FROM messages WHERE mailbox_id IS NOT NULL",
        "SELECT count(*) FROM message_bodies WHERE raw IS NOT NULL",
        "SELECT count(*) FROM threads",
    )
    found = [look(database, statement)[0][0] for statement in counts]
    return found[0], found[1], found[2]


def test_an_erased_person_leaves_no_mail_and_no_thread(database: Database) -> None:
    inbox = new_inbox(database, ["bob@example.com", "carol@example.com"])
    sent = {due.contact.email: due for due in inbox.send()}
    bob, carol = (sent[f"{name}@example.com"] for name in ("bob", "carol"))
    inbox.bring(
        mail("Call me at home.", answers=id_of(bob)),
        mail("Something else.", subject="The fair", id_="2@example.com"),
        bounce(id_of(bob)),
        mail("Yes.", sender="carol@example.com", answers=id_of(carol), id_="3@example.com"),
    )
    assert kept(database) == (4, 4, 2)
    erase(inbox, "bob@example.com")
    assert kept(database) == (1, 1, 1)
    assert look(database, "SELECT count(*) FROM messages WHERE enrollment_id IS NOT NULL") == [(2,)]


def test_a_mail_of_an_erased_person_that_waits_is_gone_too(database: Database) -> None:
    inbox = new_inbox(database)
    inbox.send()
    raw = mail("I wait.", subject="Wait")
    waiting = [FetchedMail(raw, b"h" * 32, "INBOX", "inbox", 1, 1, LATER)]
    database.run("keep", partial(incoming.keep, mailbox_id=inbox.mailbox_id, mails=waiting))
    erase(inbox, "bob@example.com")
    assert kept(database) == (0, 0, 0)


def test_what_is_read_again_after_an_erasure_belongs_to_nobody(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    answer = mail("Call me at home.", answers=id_of(due))
    inbox.bring(answer)
    erase(inbox, "bob@example.com")
    inbox.bring(answer, hours=4)
    assert kept(database) == (0, 0, 0)
    assert inbox.unrelated() == 1
    envelope = Envelope("one@example.com", (id_of(due),), "bob@example.com", is_report=False)
    with database.transaction("look") as session:
        assert matching.wanted(session, envelopes=[envelope], now=LATER) == [False]


def test_old_mails_go_and_what_follow_ups_need_stays(database: Database) -> None:
    inbox = new_inbox(database, number=3)
    (due,) = inbox.send()
    inbox.bring(mail("We have received it.", answers=id_of(due), Auto_Submitted="auto-replied"))
    inbox.send(hours=25)
    forget = partial(message_rows.forget_some, before=NOW + timedelta(hours=20), limit=100)
    database.run("forget", forget)
    assert kept(database) == (0, 0, 1)
    assert look(database, "SELECT count(*) FROM messages WHERE internet_message_id IS NOT NULL") == [(2,)]


def test_the_thread_of_an_ended_enrollment_goes_with_its_last_message(database: Database) -> None:
    inbox = new_inbox(database, ["bob@example.com", "carol@example.com"], number=1)
    due = inbox.send()[0]
    inbox.bring(mail("Yes.", sender=due.contact.email or "", answers=id_of(due)), hours=40)
    first = partial(message_rows.forget_some, before=NOW + timedelta(hours=20), limit=100)
    database.run("forget", first)
    assert kept(database) == (1, 1, 1)
    database.run("forget", partial(message_rows.forget_some, before=NOW + timedelta(hours=50), limit=100))
    assert kept(database) == (0, 0, 0)
