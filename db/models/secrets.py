"""Random keys that the program makes for itself. None ever leaves the database."""

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import rules
from db.models.base import Base, Created, length


class Secret(Created, Base):
    __tablename__ = "secrets"
    __table_args__ = (
        length("name", 1, rules.SECRET_NAME_MAX),
        CheckConstraint(f"octet_length(value) = {rules.SECRET_BYTES}", name="value_length"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes]
