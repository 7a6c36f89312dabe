"""A schema as PostgreSQL itself describes it."""

from sqlalchemy import Connection, text

from db.postgres.database import Database

# What PostgreSQL itself makes of a schema, in its own words.
CATALOG = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name, is_generated
        FROM information_schema.columns WHERE table_schema = current_schema()
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), condeferrable, convalidated
        FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    "statistics": """
        SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
        WHERE stxnamespace = current_schema()::regnamespace
    """,
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = current_schema()",
    "relations": """
        SELECT relname, relkind, relpersistence, reloptions::text FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
    """,
    "triggers": "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal",
    "routines": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
    "types": "SELECT typname, typtype FROM pg_type WHERE typnamespace = current_schema()::regnamespace",
}
Catalog = dict[str, set[tuple[object, ...]]]


def catalog(connection: Connection) -> Catalog:
    """Everything in the schema but Alembic's own table."""
    return {
        part: {tuple(row) for row in connection.execute(text(query)) if "alembic_version" not in str(row)}
        for part, query in CATALOG.items()
    }


def catalog_of(database: Database) -> Catalog:
    with database.engine.connect() as connection:
        return catalog(connection)


def differences(one: Catalog, other: Catalog) -> list[tuple[object, ...]]:
    return [row for part in one for row in one[part] ^ other[part]]
