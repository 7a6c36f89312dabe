"""The mail in which a mail program unsubscribes its person, where the server has no public address (RFC 2369)."""

import re
from typing import Final
from urllib.parse import quote

_SUBJECT: Final = re.compile(r"\s*unsubscribe\s+([A-Za-z0-9_-]{46})\s*", re.ASCII | re.IGNORECASE)


def headers(address: str, token: str) -> dict[str, str]:
    """Returns the header field of a mail that asks for such a mail to this mailbox. token: whose mail it is, signed."""
    return {"List-Unsubscribe": f"<mailto:{quote(address, safe='@')}?subject=unsubscribe%20{token}>"}


def token_in(subject: str) -> str | None:
    """Returns the token of a subject that says nothing else than to unsubscribe. Its signature says whose it is."""
    found = _SUBJECT.fullmatch(subject)
    return None if found is None else found[1]
