"""Where a mailbox keeps the mails that went out, and the search for one of them."""

from typing import Final

from db.domain.mailboxes import FolderRole
from mcp_server.mail.connections import Imap

ROLES: Final = (FolderRole.SENT, FolderRole.ALL)
"""Of the folders that have what went out."""


def is_in_selected(client: Imap, internet_message_id: str) -> bool:
    """Returns whether the selected folder has a mail with that Message-ID, which is given without brackets."""
    return bool(client.search(["HEADER", "Message-ID", f"<{internet_message_id}>"]))
