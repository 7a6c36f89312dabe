"""Finds people by any part of a name, an address, a company or a title, where PostgreSQL has its extension pg_trgm.

Where it has none, or this user may not add it, nothing is built: such a search reads all people then, and `doctor` says
so. An index that was built by hand, as the documentation once said, is kept instead.

The index is built while others read and write; for a million people that takes a minute.
"""

import sqlalchemy as sa
from alembic import op
from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError

from migrations import concurrently

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None

_NAME = "ix_contacts_search"
SEARCHED = """(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || E'\\n' || coalesce(email, '')
    || E'\\n' || coalesce(company, '') || E'\\n' || coalesce(title, ''))"""
_IS_OFFERED = sa.text("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')")
_WHERE = sa.text("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_trgm'")
_IS_BUILT = sa.text("""
    SELECT EXISTS (
        SELECT FROM pg_index i JOIN pg_opclass o ON o.oid = ANY (i.indclass)
        WHERE i.indrelid = 'contacts'::regclass AND i.indisvalid AND o.opcname = 'gin_trgm_ops')
""")
_NOT_ALLOWED = (pg.InsufficientPrivilege, pg.FeatureNotSupported, pg.UndefinedFile, pg.UndefinedObject)


def upgrade() -> None:
    """Add the extension, and build the index, where that is possible."""
    place = _extension()
    if place is None or op.get_bind().scalar(_IS_BUILT):
        return
    with concurrently.outside_of_transactions():
        before = op.get_bind().scalar(sa.text("SHOW search_path"))
        # The extension may lie in another schema than the tables, and its operators are found by their name.
        _set_path(f"{before}, {place}")
        try:
            concurrently.build(_NAME, "contacts", [f"{SEARCHED} gin_trgm_ops"], using="gin")
            op.execute("ANALYZE contacts")
        except DBAPIError as error:
            if not isinstance(error.orig, _NOT_ALLOWED):
                raise
        finally:
            _set_path(before)


def _extension() -> str | None:
    """Returns the schema of the extension, added if it can be; None if it can't."""
    connection = op.get_bind()
    place = connection.scalar(_WHERE)
    if place is not None or not connection.scalar(_IS_OFFERED):
        return place
    try:
        with connection.begin_nested():
            op.execute("CREATE EXTENSION pg_trgm")
    except DBAPIError as error:
        if not isinstance(error.orig, _NOT_ALLOWED):
            raise
    return connection.scalar(_WHERE)


def _set_path(path: str | None) -> None:
    op.get_bind().execute(sa.text("SELECT set_config('search_path', :path, false)"), {"path": path})


def downgrade() -> None:
    """Drop the index. The extension stays: others may use it."""
    op.drop_index(_NAME, "contacts", if_exists=True)
