"""A parsed mail: headers and text are decoded, reports are parsed, attachments are listed. `db/mail` makes it from
bytes, and the rules judge only this."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Final

Fields = tuple[tuple[str, str], ...]
"""Header fields in order: name in lower case, value unfolded and decoded."""

_ANSWER: Final = re.compile(
    r"\s*(?:re|aw|antw(?:ort)?|sv|vs|rv|ref|res|rif|r|odp|отв|na|ynt|回复|回覆|答复|返信)\s?(?:\[\d+\])?[:：]",
    re.IGNORECASE,
)

LOOK_CHARACTERS: Final = 200_000
"""How much of a text the rules look at."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox in a header; `address` is in lower case, and empty if there is none."""

    name: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is listed and not opened. `size` is in decoded bytes."""

    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """One mail.

    text: what a reader sees in all text parts, with quotes and signatures. Quotes of HTML begin with `>`. hidden: text
    in HTML that no reader sees.
    delivery_report: the groups of fields of a report on delivery (RFC 3464): one of the mail, then one a recipient.
    feedback: the fields of a complaint (RFC 5965). disposition: those of a receipt (RFC 8098).
    returned: headers of the mail that a report is about, or of the first mail that is attached.
    defects: what was wrong with the bytes, for people to read.
    """

    headers: Fields = ()
    subject: str = ""
    sender: Address = Address()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    date: datetime | None = None
    internet_message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    content_type: str = "text/plain"
    report_type: str = ""
    calendar_method: str = ""
    text: str = ""
    hidden: str = ""
    delivery_report: tuple[Fields, ...] = ()
    feedback: Fields = ()
    disposition: Fields = ()
    returned: Fields = ()
    attachments: tuple[Attachment, ...] = ()
    is_encrypted: bool = False
    defects: tuple[str, ...] = ()

    def header(self, name: str) -> str:
        """Returns the first field of that name, or an empty text."""
        return field(self.headers, name)

    def has(self, name: str) -> bool:
        """Returns whether there is a field of that name."""
        return any(key == name for key, _ in self.headers)


def field(fields: Fields, name: str) -> str:
    """The first value under `name` (in lower case), or an empty text."""
    return next((value for key, value in fields if key == name), "")


def is_answer(mail: ParsedMail) -> bool:
    """Returns whether the headers or the subject say that the mail answers another."""
    return bool(mail.in_reply_to or mail.references) or _ANSWER.match(mail.subject) is not None


def is_of_a_person(sender: Address) -> bool:
    """Returns whether an address contains its owner's name, as a person's address does and a desk's does not."""
    local = sender.address.partition("@")[0]
    words = [word.lower() for word in re.findall(r"[^\W\d_]{3,}", sender.name)]
    return len(words) >= 2 and any(_plain(word)[:4] in local for word in words)


def _plain(word: str) -> str:
    """Returns the text without accents, as addresses are spelled."""
    spelled = word.replace("ß", "ss").replace("ø", "o").replace("ł", "l")
    return "".join(letter for letter in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(letter))
