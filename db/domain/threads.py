"""Threads of mails to one person: which mail a follow-up answers, what its subject says, and what names a mail.

Pure functions of the mails that were really sent to the person in one campaign, in the order of their steps.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from db.domain.addresses import bare_address
from db.domain.field_limits import EMAIL_PATTERN, HOST_MAX

REFERENCES_MAX: Final = 50
REFERENCES_CHARACTERS_MAX: Final = 8_000
"""A longer thread is named by its first mail and its latest ones (RFC 5537, 3.4.4)."""
_HOST: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_ANSWER: Final = re.compile(r"\s*re\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that was sent. What is not known of it is None. `new_thread`: it belongs to no mail before it.

    internet_message_id: without angle brackets, as it was really used.
    """

    internet_message_id: str | None
    subject: str | None
    new_thread: bool = False


def open_thread(sent: Sequence[SentMail]) -> Sequence[SentMail]:
    """Returns the mails of the thread that the next follow-up belongs to: the latest that begins again, and those after
    it."""
    begins = max((place for place, mail in enumerate(sent) if mail.new_thread), default=0)
    return sent[begins:]


def references(thread: Sequence[SentMail]) -> tuple[str, ...]:
    """Returns the ids that a follow-up in this thread refers to, the oldest first; the last is that of the mail that it
    answers. Ids that are not known are left out, and of a long thread those between its first and its latest."""
    ids = list(dict.fromkeys(mail.internet_message_id for mail in reversed(thread) if mail.internet_message_id))
    if not ids:
        return ()
    *later, first = ids
    kept: list[str] = []
    left = REFERENCES_CHARACTERS_MAX - len(first)
    for id_ in later[: REFERENCES_MAX - 1]:
        left -= len(id_)
        if kept and left < 0:
            break
        kept.append(id_)
    return (first, *reversed(kept))


def answering(subject: str) -> str:
    """Returns the subject of an answer to a mail with this subject: Re: comes before it once (RFC 5322, 3.6.5)."""
    return subject if _ANSWER.match(subject) else f"Re: {subject}"


def message_domain(account: str | None, public_url: str | None) -> str | None:
    """Returns the domain that the Message-IDs of a campaign end in, in ASCII: that of the account it sends from, if
    that is an address, else that of the server's public address; None where neither has one."""
    return next((host for given in _hosts(account, public_url) if (host := _in_ascii(given)) is not None), None)


def _hosts(account: str | None, public_url: str | None) -> Iterator[str]:
    address = bare_address(account or "")
    if re.match(EMAIL_PATTERN, address):
        yield address.rpartition("@")[2]
    try:
        yield urlsplit(public_url or "").hostname or ""
    except ValueError:
        return


def _in_ascii(host: str) -> str | None:
    try:
        plain = host.encode("idna").decode().lower() if len(host) <= HOST_MAX else ""
    except UnicodeError:
        return None
    return plain if len(plain) <= HOST_MAX and _HOST.fullmatch(plain) else None


def headers(internet_message_id: str | None, referred: Sequence[str]) -> dict[str, str]:
    """Returns the header fields that place a mail in its thread (RFC 5322, 3.6.4), as far as the ids are known."""
    fields: dict[str, str] = {}
    if internet_message_id is not None:
        fields["Message-ID"] = f"<{internet_message_id}>"
    if referred:
        fields["In-Reply-To"] = f"<{referred[-1]}>"
        fields["References"] = " ".join(f"<{id_}>" for id_ in referred)
    return fields
