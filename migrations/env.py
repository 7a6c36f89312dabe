"""Alembic's entry: it runs on the connection that `migrations.runner` hands it, or prints SQL for the offline mode."""

from alembic import context

from db.models import Base

config = context.config


def run() -> None:
    """Each revision in a transaction of its own, so that a failure leaves the last good revision standing."""
    context.configure(
        connection=config.attributes["connection"],
        target_metadata=Base.metadata,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
