"""Takes the content of attachments out of a mail."""

from db.mail.parse import is_attachment
from db.mail.structure import parts_of


def without_attachments(raw: bytes) -> bytes:
    """Returns the mail with the bodies of its attachments emptied. Every other byte stays: the headers of attachments,
    texts, reports and returned mails. Takes linear time."""
    parts, _ = parts_of(raw)
    above = {part.parent for part in parts}
    kept: list[bytes] = []
    at = 0
    for index, part in enumerate(parts):
        if index not in above and part.end > part.start and is_attachment(part):
            kept.append(raw[at : part.start])
            at = part.end
    if not kept:
        return raw
    kept.append(raw[at:])
    return b"".join(kept)
