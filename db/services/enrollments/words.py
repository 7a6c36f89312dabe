"""What was written to the people of a campaign, message by message."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import CampaignAction
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
    statement = select(CampaignAction).where(CampaignAction.instance_id == campaign_id)
    found = page(session, statement, by=[CampaignAction.id], limit=limit, cursor=cursor, listing="messages")
    words = message_rows.of_actions(session, action_ids=[action.id for action in found.rows])
    rows = [Written(action, said) for action in found.rows if (said := words.get(action.id)) and any(said[:2])]
    return Page(rows, found.next_cursor)
