"""The embedded PostgreSQL: a real server in the user's own directory, shared by all who name that directory.

Each server registers a locked file under `users/`. A small detached process, the keeper, owns the postmaster for all of
them: it starts it again when it dies, and stops it when no lock is held any more, however the last holder ended.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]


def __getattr__(name: str) -> object:
    # Imported late: the keeper imports this package too, and does not need the server's modules.
    if name == "EmbeddedPostgres":
        from db.embedded.server import EmbeddedPostgres  # noqa: PLC0415 - see above

        return EmbeddedPostgres
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
