"""Which folders of a mailbox are read, and where copies of sent mail are kept."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from db.domain.field_limits import FOLDER_NAME_MAX
from db.domain.mailboxes import FolderRole

Listed = Sequence[tuple[Sequence[bytes], str]]
"""Flags and name of each folder, as the server lists them."""

_MARKS: Final = MappingProxyType({FolderRole.JUNK: b"\\junk", FolderRole.SENT: b"\\sent", FolderRole.ALL: b"\\all"})
"""The role -> its attribute (RFC 6154), in lower case."""

_USUAL_NAMES: Final = MappingProxyType(
    {
        FolderRole.JUNK: frozenset({"junk", "junk email", "junk e-mail", "spam", "bulk mail", "[gmail]/spam"}),
        FolderRole.SENT: frozenset({"sent", "sent items", "sent messages", "sent mail", "[gmail]/sent mail"}),
        FolderRole.ALL: frozenset({"all mail", "[gmail]/all mail"}),
    }
)
_UNSELECTABLE: Final = frozenset({b"\\noselect", b"\\nonexistent"})


class Folder(NamedTuple):
    """A folder that is read. `is_marked`: the server says what it holds; else its name does."""

    name: str
    role: FolderRole
    is_marked: bool = True

    @property
    def is_inbox(self) -> bool:
        """Whether it is the one where mail arrives."""
        return self.role is FolderRole.INBOX


def to_read(listed: Listed) -> list[Folder]:
    """Returns the folders that are read, at most one of each role: INBOX first, then Junk, Sent and All Mail."""
    inbox = next((name for _, name in listed if name.upper() == "INBOX"), "INBOX")
    others = (find(listed, role) for role in _MARKS)
    return [Folder(inbox, FolderRole.INBOX), *(folder for folder in others if folder is not None)]


def find(listed: Listed, role: FolderRole) -> Folder | None:
    """Returns the folder with that role: by its attribute, or else by a usual name. None if there is none."""
    usable = [
        (flags, name)
        for flags, name in ((frozenset(flag.lower() for flag in flags), name) for flags, name in listed)
        if not flags & _UNSELECTABLE and 0 < len(name) <= FOLDER_NAME_MAX and name.upper() != "INBOX"
    ]
    marked = next((name for flags, name in usable if _MARKS[role] in flags), None)
    if marked is not None:
        return Folder(marked, role)
    usual = next((name for _, name in usable if _plain(name) in _USUAL_NAMES[role]), None)
    return None if usual is None else Folder(usual, role, is_marked=False)


def _plain(name: str) -> str:
    return name.lower().removeprefix("inbox.").removeprefix("inbox/")
