"""Which campaign writes to a person, as far as people decide it. conversation_rows has the rows and the rule."""

from sqlalchemy.orm import Session

from db.services.state import conversation_rows


def look_again(session: Session) -> None:
    """Lets the next claims look again at all who wait for another campaign, since the rules of that have changed."""
    conversation_rows.wake_all(session)
