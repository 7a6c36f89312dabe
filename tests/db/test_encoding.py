"""A database that can't hold every text is refused at the start, and not when the first such name comes."""

from collections.abc import Generator

import pytest
from sqlalchemy import text

from db.domain.errors import StoreUnavailable
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def encoded(postgres: str, request: pytest.FixtureRequest) -> Generator[tuple[str, str]]:
    """(encoding, URL) of a database with that encoding."""
    name = f"encoded_{request.param.lower()}"
    admin = Database(DatabaseConfig(url=postgres))
    made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' LOCALE_PROVIDER libc LOCALE 'C'"
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(made))
    yield request.param, postgres.replace("/sales?", f"/{name}?")
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.close()


def test_another_encoding_than_utf8_is_refused_with_the_way_out(encoded: tuple[str, str]) -> None:
    encoding, url = encoded
    with pytest.raises(StoreUnavailable, match=rf"is encoded as {encoding}, .* `createdb .*--encoding=UTF8`"):
        Database.open(DatabaseConfig(url=url))
