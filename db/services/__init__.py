"""Set-based operations on the database, in rooms. Each function takes a `session`, commits nothing, and raises."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as Session
