"""What was written to the people of a campaign, message by message: steps, and replies in threads."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.models import CampaignAction, Message, MessageBody, Thread
from db.services.campaigns import campaigns
from db.services.paging import Page, page
from db.services.state import message_rows
from db.services.state.message_rows import Words


class Written(NamedTuple):
    """A step for one person, and the words that were handed out for it."""

    action: CampaignAction
    words: Words


def list_(session: Session, *, campaign_id: UUID, limit: int, cursor: str | None) -> Page[Written]:
    """Returns what was handed out for up to `limit` steps of the campaign, newest first; less where some have no
    words."""
    campaigns.get(session, campaign_id=campaign_id)
    statement = select(CampaignAction).where(CampaignAction.campaign_id == campaign_id)
    found = page(session, statement, by=[CampaignAction.id], limit=limit, cursor=cursor, listing="messages")
    words = message_rows.of_actions(session, action_ids=[action.id for action in found.rows])
    rows = [Written(action, said) for action in found.rows if (said := words.get(action.id)) and any(said[:2])]
    return Page(rows, found.next_cursor)


class WrittenReply(NamedTuple):
    """A reply in a thread, and its words as far as they are kept."""

    message: Message
    body: str | None


def list_replies(session: Session, *, campaign_id: UUID, limit: int, cursor: str | None) -> Page[WrittenReply]:
    """Returns up to `limit` replies to people of the campaign, newest first, whatever became of them."""
    statement: Select[Message] = (
        select(Message)
        .join(Thread, Thread.id == Message.thread_id)
        .where(Thread.campaign_id == campaign_id, Message.replies_to.is_not(None))
    )
    found = page(session, statement, by=[Message.id], limit=limit, cursor=cursor, listing="replies")
    wanted = select(MessageBody.message_id, MessageBody.body).where(
        MessageBody.message_id.in_([message.id for message in found.rows])
    )
    bodies = {row.message_id: row.body for row in session.execute(wanted)}
    return Page([WrittenReply(message, bodies.get(message.id)) for message in found.rows], found.next_cursor)
