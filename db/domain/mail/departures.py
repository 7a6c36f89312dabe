"""Reads a colleague's answer that the person to whom we wrote has left."""

import re
from typing import Final

from db.domain.mail.absences import left
from db.domain.mail.message import ParsedMail
from db.domain.mail.patterns import any_of
from db.domain.mail.quoting import Said
from db.domain.mail.sentences import sentences_of
from db.domain.mail.verdict import Reason

_SENTENCES_MAX: Final = 5
# "Our planner has left" is about somebody else, and often about a need.
_SOMEBODY_ELSE: Final = any_of(
    r"""
    our|my|the (?:last|former|previous|old)|their|unser\w*|mein\w*|notre|nos|mon|ma|nuestr[oa]s?|mi|mis|onze|ons
    mijn|nostr[oaie]|mi[oa]|nosso|nossa|nossos|meu|minha|most|some|many|several|two|three|half|viele|einige
    plusieurs|varios|molti|veel|muitos
    """,
    before=r"\b",
    after=r"\b",
)
_ASKED: Final = re.compile(r"\b(?:whether|unless|ob|falls|wenn)\b|\bif (?:he|she|they|ann)")
_GOES_ON: Final = any_of(
    r"""
    \?
    \b(?:i (?:am|will|have|would|plan)|interested|show me|call me|zeigen sie|interessi|urgent|dringend|urgente)\b
    """,
)
_GREETING: Final = any_of(
    r"""
    hi|hello|dear|hey|good (?:morning|afternoon)|hallo|guten (?:tag|morgen)|sehr geehrte[rs]?(?: herr| frau)?
    lieber?|bonjour|bonsoir|cher|chère|hola|buenos días|buenas(?: tardes)?|estimad[oa]|beste|geachte|dag
    goedemorgen|goedendag|buongiorno|salve|gentile|ciao|bom dia|boa tarde|olá|caro|cara|prezad[oa]
    """,
    before=r"^[>\s]*",
    after=r"[,\s]+([^\n,:!]{2,60})",
    flags=re.IGNORECASE | re.MULTILINE,
)
_TO: Final = re.compile(r"^[>\s*]*(?:to|an|à|para|aan|a|per)\s?\*?:\s*([^\n<@;]{2,60})", re.IGNORECASE | re.MULTILINE)
_NAME: Final = re.compile(r"[^\W\d_]{3,}")
_TITLES: Final = frozenset(
    [
        "herr",
        "frau",
        "mevrouw",
        "meneer",
        "heer",
        "monsieur",
        "madame",
        "señor",
        "señora",
        "signor",
        "signora",
        "senhor",
        "senhora",
        "doctor",
        "team",
    ]
)


def has_left(mail: ParsedMail, said: Said) -> Reason | None:
    """Returns the sentence in which a colleague says that the person has left. None if it is about somebody else, or if
    the mail continues with what its writer wants."""
    reason = left(said.text)
    if reason is None or not said.is_own:
        return None
    addressee = _addressee(mail, said.quoted)
    sentence = reason.evidence.lower()
    if _ASKED.search(sentence):
        return None
    names_addressee = any(name in sentence for name in addressee)
    writer = {name.lower() for name in _NAME.findall(mail.sender.name)}
    is_writer = bool(addressee & writer)
    if _GOES_ON.search(said.text) or len(sentences_of(said.text)) > _SENTENCES_MAX + 4:
        return reason if names_addressee and not is_writer and "?" not in said.text else None
    if names_addressee and not is_writer:
        return reason
    if _SOMEBODY_ELSE.search(reason.evidence[: _until(reason.evidence)]) or is_writer:
        return None
    return reason


def _until(sentence: str) -> int:
    return min(len(sentence), 40)


def _addressee(mail: ParsedMail, quoted: str) -> set[str]:
    """Returns the names, in lower case, of the recipient of the quoted mail."""
    names: set[str] = set()
    for pattern in (_GREETING, _TO):
        found = pattern.search(quoted[:4_000])
        if found:
            names |= {name.lower() for name in _NAME.findall(found[1])}
    ours = {name.lower() for address in mail.to for name in _NAME.findall(address.name)}
    return names - _TITLES - ours
