"""Random keys that the program makes. They are stored only in the database."""

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.models.base import Base, Created, length


class Secret(Created, Base):
    __tablename__ = "secrets"
    __table_args__ = (
        length("name", 1, field_limits.SECRET_NAME_MAX),
        CheckConstraint(f"octet_length(value) = {field_limits.SECRET_BYTES}", name="value_length"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes]
