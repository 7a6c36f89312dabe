"""Conversations: one campaign at a time writes to a person."""

from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Mutable, of_enrollment


class Conversation(Mutable, Base):
    """The enrollment that writes to a person, or did last. See db.services.state.conversation_rows."""

    __tablename__ = "conversations"
    __table_args__ = (of_enrollment(),)

    # It goes with the enrollment, which is of this person. A foreign key of its own would let claims, which hold the
    # enrollment, wait for who has locked the person and comes for the enrollment next.
    contact_id: Mapped[UUID] = mapped_column(primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column("instance_id")
    enrollment_id: Mapped[UUID]


Index("ix_conversations_enrollment_id", Conversation.enrollment_id, Conversation.campaign_id)
