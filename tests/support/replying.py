"""A person who has answered a mail that this server sent, and replies to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from db.models import ActionDraft, Message
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.consent import replies
from db.services.consent.replies import Reply
from db.services.outgoing.mails import QueuedMail
from tests.support.campaigns import NOW
from tests.support.incoming import OWNER, Inbox, look, mail
from tests.support.outbox import Outbox, at, new_outbox

ANSWER_ID = "one@example.com"


@dataclass
class Talk:
    """A thread with somebody who has answered. Hours count from the start of the campaign; the answer came after 1."""

    outbox: Outbox
    inbox: Inbox
    sent: QueuedMail
    thread_id: UUID

    @property
    def database(self) -> Database:
        return self.outbox.database

    def replying(self, body: str = "Tuesday at ten?", *, cc: Sequence[str] = (), hours: float = 2) -> Reply:
        return self.database.run(
            "reply", partial(replies.reply, thread_id=self.thread_id, body=body, cc=cc, now=at(hours))
        )

    def queued(self, body: str = "Tuesday at ten?", *, cc: Sequence[str] = ()) -> Message:
        made = self.replying(body, cc=cc).message
        assert made is not None
        return made

    def drafted(self, body: str = "Tuesday at ten?", *, cc: Sequence[str] = ()) -> ActionDraft:
        made = self.replying(body, cc=cc).draft
        assert made is not None
        return made

    def begun(self, *, hours: float = 2) -> QueuedMail:
        """The reply, as it is being sent."""
        (mail,) = self.outbox.claim(hours=hours)
        assert self.outbox.begin(mail, hours=hours) is None
        return mail

    def unknown(self) -> QueuedMail:
        """The reply, of which nobody knows whether it went out."""
        self.queued()
        mail = self.begun()
        self.outbox.unknown(mail)
        return mail

    def hears(self, words: str = "And one more thing.", *, hours: float = 3, answers: str | None = None) -> None:
        """The person writes once more."""
        own_id = f"at-{hours}@example.com"
        self.inbox.bring(mail(words, answers=answers or self.sent.internet_message_id, id_=own_id), hours=hours)

    def owner_writes(self, *, hours: float = 3) -> None:
        """The owner of the mailbox answers by hand."""
        answers = self.sent.internet_message_id
        raw = mail("I will call.", sender=OWNER, to="bob@example.com", answers=answers, id_="hand@x.example")
        self.inbox.bring(raw, hours=hours)

    def asks(self, approval: str = "all") -> None:
        """The campaign asks for approval from now on."""
        fields = {"settings": {"mailboxes": [OWNER], "approval": approval}}
        work = partial(campaigns.update, campaign_id=self.outbox.campaign_id, fields=fields, now=NOW, may_ask_less=True)
        self.database.run("ask", work)

    def state(self) -> str:
        return self.inbox.threads()[0].state

    def statuses(self) -> list[tuple[str, str | None]]:
        """The status of each reply, and what is told of it."""
        return look(self.database, "SELECT status, answer FROM messages WHERE replies_to IS NOT NULL ORDER BY id")


def new_talk(database: Database, people: Sequence[str] = ("bob@example.com",), **headers: str) -> Talk:
    """headers: of the answer."""
    outbox = new_outbox(database, people)
    first = outbox.begun()
    outbox.sent(first)
    inbox = Inbox(database, outbox.mailbox_id, outbox.campaign_id, outbox.enrollments)
    inbox.bring(mail("Sounds good. When?", answers=first.internet_message_id, id_=ANSWER_ID, **headers))
    return Talk(outbox, inbox, first, inbox.threads()[0].id)
