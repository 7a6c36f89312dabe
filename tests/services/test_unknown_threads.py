"""Mails of which nobody knows whether they went out are listed with their threads, so that a person finds them."""

from functools import partial

from db.domain.mail.verdict import BounceKind
from db.domain.states import MessageStatus, SettledAs, ThreadsIn, ThreadState
from db.models import Thread
from db.postgres.database import Database
from db.services.mail import mailboxes, threads
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing import settling, signs
from db.services.outgoing.mails import QueuedMail
from tests.support.incoming import Inbox, bounce
from tests.support.outbox import SMTP, Outbox, at, new_outbox


def listed(database: Database, state: ThreadsIn | None = ThreadsIn.DELIVERY_UNKNOWN) -> list[Thread]:
    work = partial(threads.list_, state=state, limit=50, cursor=None)
    return list(database.run("list", lambda session: work(session).rows))


def statuses(database: Database, thread: Thread) -> list[str | None]:
    work = partial(threads.messages_of, thread_id=thread.id, limit=10)
    return database.run("look", lambda session: [message.status for message in work(session)])


def settle(outbox: Outbox, mail: QueuedMail, outcome: SettledAs) -> None:
    work = partial(settling.settle_message, message_id=mail.message_id, outcome=outcome, now=at(1))
    outbox.database.run("settle", lambda session: work(session).status)


def lost(outbox: Outbox, *, hours: float = 0) -> QueuedMail:
    mail = outbox.begun(hours=hours)
    outbox.unknown(mail, hours=hours)
    return mail


def answered(outbox: Outbox, mail: QueuedMail) -> None:
    """A server says that the mail is delayed, which is not an event of the step."""
    inbox = Inbox(outbox.database, outbox.mailbox_id, outbox.campaign_id, outbox.enrollments)
    told = bounce(mail.internet_message_id, status="4.2.2").replace(b"Action: failed", b"Action: delayed")
    inbox.bring(told, hours=26)
    outbox.database.run("settle", partial(signs.settle, mailbox_id=outbox.mailbox_id, now=at(27)))


def test_a_first_mail_of_which_nobody_knows_is_listed_until_it_is_settled(database: Database) -> None:
    outbox = new_outbox(database, ["bob@example.com", "eve@example.com"])
    outbox.sent(outbox.begun())
    mail = lost(outbox)
    (thread,) = listed(database)
    assert (thread.subject, thread.messages, thread.enrollment_id) == ("Mail 1", 1, mail.enrollment_id)
    assert statuses(database, thread) == [MessageStatus.UNKNOWN]
    settle(outbox, mail, SettledAs.SENT)
    assert listed(database) == []
    assert [found.messages for found in listed(database, ThreadsIn.WAITING)] == [1, 1]


def test_a_mail_that_was_not_sent_is_in_no_thread_until_it_is(database: Database) -> None:
    outbox = new_outbox(database)
    settle(outbox, lost(outbox), SettledAs.NOT_SENT)
    assert listed(database, None) == []
    outbox.sent(outbox.begun(hours=1), hours=1)
    assert [thread.messages for thread in listed(database, None)] == [1]


def test_a_mail_that_the_server_would_not_take_after_all_is_in_no_thread(database: Database) -> None:
    outbox = new_outbox(database)
    outbox.deferred(lost(outbox))
    assert listed(database, None) == []
    again = lost(outbox, hours=1)
    outbox.refused(again, BounceKind.HARD, hours=2)
    assert [thread.messages for thread in listed(database, None)] == [1]
    assert listed(database) == []


def test_a_follow_up_of_which_nobody_knows_is_in_its_thread_and_settled_by_its_own_answer_alone(
    database: Database,
) -> None:
    outbox = new_outbox(database)
    first = outbox.begun()
    outbox.sent(first)
    second = lost(outbox, hours=25)
    (thread,) = listed(database)
    assert thread.messages == 2
    answered(outbox, first)  # says nothing of the other
    assert outbox.statuses() == [MessageStatus.SENT, MessageStatus.UNKNOWN]
    settle(outbox, second, SettledAs.NOT_SENT)
    (left,) = listed(database, None)
    assert (left.id, left.messages) == (thread.id, 2)  # the first mail, and the answer


def test_an_answer_to_a_mail_that_is_listed_says_that_it_went_out(database: Database) -> None:
    outbox = new_outbox(database)
    mail = lost(outbox)
    answered(outbox, mail)
    assert outbox.statuses() == [MessageStatus.SENT]
    assert listed(database) == []
    assert [thread.messages for thread in listed(database, ThreadsIn.WAITING)] == [2]


def test_what_a_killed_sender_or_a_removed_mailbox_leaves_is_listed(database: Database) -> None:
    outbox = new_outbox(database, ["bob@example.com", "eve@example.com"])
    first = outbox.begun()
    other, _ = outbox.taken_over()
    assert [thread.enrollment_id for thread in listed(database)] == [first.enrollment_id]
    second = other.begun()
    connect = partial(mailboxes.connect, address="cleo@other.example", change=MailboxChange(smtp=SMTP))
    database.run("other", lambda session: connect(session).id)
    database.run("remove", partial(mailboxes.remove, mailbox=outbox.mailbox_id, move_to="cleo@other.example"))
    assert {thread.enrollment_id for thread in listed(database)} == {first.enrollment_id, second.enrollment_id}


def test_threads_are_listed_by_each_of_their_states() -> None:
    assert {*ThreadState, "delivery_unknown"} == {*ThreadsIn}
