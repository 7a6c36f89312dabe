"""Reply codes (RFC 5321) and enhanced status codes (RFC 3463), and what they say about an address."""

import re
from dataclasses import dataclass
from typing import Final

from db.domain.mail.verdict import BounceKind

_ENHANCED: Final = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_REPLY: Final = re.compile(r"(?:^|(?<=[\s;:'\"(>#]))([45][0-5]\d)(?=[\s\-:;,<(]|$)")

_TO_SENDER: Final = re.compile(
    r"(?:after|in (?:reply|response) to|did not like our|to|in|for|>>>) (?:the |our |initial |pipelined )?(?:MAIL FROM"
    r"|EHLO|HELO|greeting|end of initial)|but (?:greeting failed|(?:my name|sender) was rejected)|\[MAIL_FROM\]"
    r"|refused to talk to me"
    r"|^SMTP:MAIL ",
    re.IGNORECASE | re.MULTILINE,
)
_TO_RECIPIENT: Final = re.compile(
    r"(?:after|in (?:reply|response) to|did not like our|to|in|for|following|>>>) (?:the |our |pipelined )?RCPT"
    r"|does not like recipient|\[RCPT_TO\]",
    re.IGNORECASE,
)

_KINDS: Final = {
    **dict.fromkeys(("1.0", "1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.1", "4.4"), BounceKind.HARD),
    **dict.fromkeys(("1.7", "1.8", "1.9", "7.25", "7.27"), BounceKind.POLICY),
    **dict.fromkeys(("7.20", "7.21", "7.22", "7.23", "7.24", "7.26", "7.509", "7.515"), BounceKind.AUTH),
    **dict.fromkeys(("2.3", "3.4"), BounceKind.TOO_LARGE),
    "2.2": BounceKind.FULL,
    "4.7": BounceKind.EXPIRED,
}
_SUBJECTS: Final = {
    "3": BounceKind.SOFT,
    "4": BounceKind.SOFT,
    "5": BounceKind.POLICY,
    "6": BounceKind.POLICY,
    "7": BounceKind.POLICY,
}
# Reasons that a temporary code does not turn into SOFT.
_LASTING: Final = (BounceKind.FULL, BounceKind.EXPIRED, BounceKind.POLICY, BounceKind.AUTH)


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes in a text: `enhanced` such as `5.1.1` and `reply` such as `550`, each empty if there is none.

    about_sender: the answer was given to MAIL FROM, or to a greeting before it, and not to RCPT TO.
    """

    enhanced: str = ""
    reply: str = ""
    about_sender: bool = False

    @property
    def is_temporary(self) -> bool:
        """Returns whether the server says that a later attempt may succeed."""
        return (self.reply or self.enhanced).startswith("4")

    @property
    def detail(self) -> str:
        """The enhanced code without its class: `1.1`."""
        return self.enhanced.partition(".")[2]


def codes_of(text: str, status: str = "", *, about_sender: bool = False) -> Codes:
    """Returns the first code of each sort in the text, or the one in a Status field."""
    enhanced = next((found[0] for found in _ENHANCED.finditer(text) if found[1] != "2"), "")
    reply = _REPLY.search(text)
    given = _ENHANCED.search(status)
    return Codes(
        enhanced or (given[0] if given else ""), reply[1] if reply else "", about_sender or answers_the_sender((text,))
    )


def answers_the_sender(said: tuple[str, ...]) -> bool:
    """Returns whether the texts about a refusal say that it answers MAIL FROM or a greeting. The field of a report has
    only the answer; the text of the mail says what it answers."""
    return any(map(_TO_SENDER.search, said)) and not any(map(_TO_RECIPIENT.search, said))


def kind_of(codes: Codes) -> BounceKind:
    """Returns what the codes alone say: `unknown` for codes that say little, such as 5.0.0 and a bare 550."""
    kind = _KINDS.get(codes.detail) or _SUBJECTS.get(codes.detail.partition(".")[0])
    if kind is BounceKind.HARD and codes.about_sender:
        return BounceKind.POLICY
    if codes.is_temporary:
        return kind if kind and kind in _LASTING else BounceKind.SOFT
    if kind is None and codes.reply == "552":
        return BounceKind.TOO_LARGE
    if kind is None and codes.reply in ("521", "551", "556"):
        return BounceKind.HARD
    return kind or BounceKind.UNKNOWN
