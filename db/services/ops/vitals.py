"""What the database server says of itself."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Vitals:
    """`version` such as 18.1; `revision` is the schema's; `is_encrypted` tells of this very connection."""

    version: str
    revision: str
    is_encrypted: bool


_LOOK = text("""
    SELECT split_part(current_setting('server_version'), ' ', 1), (SELECT version_num FROM alembic_version),
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
""")
_PING = text("SELECT 1")


def look(session: Session) -> Vitals:
    """As it is now. The database has been migrated."""
    return Vitals(*session.execute(_LOOK).one())


def ping(session: Session) -> None:
    """Go to the server and back."""
    session.execute(_PING)
