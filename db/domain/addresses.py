"""The one normal form of an email address and of a LinkedIn profile, and the addresses that a text mentions.

Text is in NFC and in lower case, a domain in Unicode (IDNA 2008), whether it came as punycode or not. Ids that
LinkedIn makes keep their case, without which they lead nowhere; but profiles are compared in lower case, since a
spreadsheet or an earlier version may have lost it.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import dropwhile
from typing import Final
from urllib.parse import unquote, urlsplit

from db.domain.encodings import readings
from db.domain.errors import InvalidInput
from db.domain.field_limits import EMAIL_MAX, LINKEDIN_URL_MAX, LINKEDIN_URL_PATTERN

PROFILE_PREFIX: Final = "https://www.linkedin.com/in/"
_PUNYCODE: Final = "xn--"
_LABEL_MAX: Final = 63


def normalise_email(email: str) -> str:
    """Returns the one spelling of an address that is valid: NFC, in lower case, its domain in Unicode."""
    mailbox, _, domain = email.rpartition("@")
    return lowered(f"{mailbox}@{domain_in_unicode(domain.lower())}")


# Marks that nobody sees: they are copied along with an address, and are of none.
_UNSEEN: Final[dict[int, None]] = dict.fromkeys(
    [0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF]
)
_MAILTO: Final = "mailto:"


def bare_address(text: str) -> str:
    """Returns the address in a text as mail programs write one (RFC 5322): `Ann Lee <ann@example.com>`,
    `<ann@example.com>`, `ann@example.com (Ann)`, `mailto:ann@example.com?subject=Hello`, or with a dot behind it.
    What is written otherwise is returned as it is, for whoever checks it."""
    text = text.translate(_UNSEEN).strip()
    if text.endswith(")") and "(" in text:
        text = text[: text.rindex("(")].rstrip()
    if text.endswith(">") and "<" in text:
        text = text[text.rindex("<") + 1 : -1].strip()
    if text[: len(_MAILTO)].lower() == _MAILTO:
        text = unquote(text[len(_MAILTO) :].partition("?")[0]).strip()
    return text.removesuffix(".")


def domain_in_unicode(domain: str) -> str:
    """Returns the domain with its punycode labels decoded; what is not punycode stays as it is."""
    if _PUNYCODE not in domain:
        return domain
    return ".".join(_decoded(label) for label in domain.split("."))


def domain_in_ascii(domain: str) -> str:
    """Returns the domain, in normal form, with its labels in punycode where they need it. IDNA 2008: ß stays ß."""
    if domain.isascii():
        return domain
    return ".".join(
        label if label.isascii() else _PUNYCODE + label.encode("punycode").decode() for label in domain.split(".")
    )


def _decoded(label: str) -> str:
    if label.startswith(_PUNYCODE) and len(label) <= _LABEL_MAX:  # its decoder is quadratic
        with suppress(UnicodeError):
            return label.removeprefix(_PUNYCODE).encode("ascii").decode("punycode")
    return label


def lowered(text: str) -> str:
    """Returns the text in lower case and in NFC, as addresses are compared."""
    # Lower case can decompose what NFC has composed, so NFC has the last word.
    return _nfc(_nfc(text).lower())


def _nfc(text: str) -> str:
    """Returns the text in NFC, in linear time: the library sorts a run of marks by insertion, so runs longer than any
    language has are split first."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _long_runs_of_marks().sub("\\g<0>\u034f", text))


@cache
def _long_runs_of_marks() -> re.Pattern[str]:
    """Returns the pattern of such runs, as in the stream-safe text format of UAX 15."""
    marks = "".join(filter(unicodedata.combining, map(chr, range(0x300, sys.maxunicode // 8))))
    return re.compile(f"[{marks}]{{30}}")


# Written by LinkedIn: base64 of a member's number, so the case counts.
_MEMBER_ID: Final = re.compile(r"AC[ow]AA[\w-]+", re.ASCII)
# What stands around an address in a sentence, a list or a mail. No profile's name ends with any of it.
_AROUND: Final = " \t\r\n.,;:!?'\"<>()[]{}|\\*_~`\u200b\u200e\u200f\ufeff\u2018\u2019\u201c\u201d\u00ab\u00bb\u2026"
_BEFORE_IN: Final = frozenset({"comm", "mwlite", "m"})
_TITLE: Final = "linkedin_url must be a person's profile, linkedin.com/in/..., such as "


def normalise_linkedin_url(url: str) -> str:
    """Returns the one spelling of a profile's address: https://www.linkedin.com/in/name. InvalidInput if it is no
    profile.

    Only under /in/ does one segment name one person: /sales/ and /pub/ need more, and /company/ is nobody. What was
    copied along with the address, as the end of a sentence or of a query, is left out.
    """
    name = _profile_name(url)
    if name is not None:
        normal = PROFILE_PREFIX + name
        if len(normal) <= LINKEDIN_URL_MAX and re.match(LINKEDIN_URL_PATTERN, normal):
            return normal
    raise InvalidInput(_TITLE + "https://www.linkedin.com/in/jane-doe")


def _profile_name(url: str) -> str | None:
    text = url.strip(_AROUND)
    with suppress(ValueError):  # the brackets of an IPv6 address
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = (parts.hostname or "").rstrip(".")
        named = (segment for segment in unquote(parts.path.partition("&")[0]).split("/") if segment)
        segments = list(dropwhile(lambda segment: segment.lower() in _BEFORE_IN, named))
        if (host == "linkedin.com" or host.endswith(".linkedin.com")) and len(segments) > 1:
            place, name = segments[0], segments[1].strip(_AROUND)
            if place.lower() == "in" and name.isprintable() and "\ufffd" not in name:
                return (name if _MEMBER_ID.fullmatch(name) else lowered(name)) or None
    return None


# Of the part before the @, read backwards from it.
_MAILBOX: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+")
_DOMAIN: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+")
# What may stand in front of an address without being of it, though a mailbox could be named with it.
_BEFORE: Final = re.compile(r"[!#$%&'*/=?^`{|}~]")
# An address has a few of them at most; what stands before it, as a query, may have any number.
_STARTS_MAX: Final = 16
_PROFILE: Final = re.compile(r"""linkedin\.com/[^\s"'<>()\[\]{}|\\,;]+""", re.IGNORECASE)


def addresses_in(text: str) -> set[str]:
    """Returns the emails and LinkedIn profiles that a text mentions, in their normal form and, as they are compared, in
    lower case. Never a part of a longer one. It takes a time that grows with the length of the text, whatever it holds.

    They are found behind percent signs, the escapes of JSON (in JSON) and HTML, quoted-printable, base64 and punycode.
    Where it is not sure what belongs to an address, both readings are given.
    """
    found: set[str] = set()
    for reading in readings(text):
        if "@" in reading:
            found.update(_emails(lowered(reading)))
        if "inkedin" in reading.lower():
            found.update(_profiles(_nfc(reading)))
    return found


_JOINERS: Final = "._+-"


def _emails(text: str) -> Iterator[str]:
    """Yields all readings of the emails in a text in lower case: looked for around each @, no further than an address
    goes."""
    end, at = 0, text.find("@")
    while at >= 0:
        before = text[max(end, at - EMAIL_MAX - 1) : at]
        mailbox, domain = _MAILBOX.match(before[::-1]), _DOMAIN.match(text, at + 1)
        if mailbox and domain:
            yield from _readings(before[len(before) - mailbox.end() :], domain[0])
            end = domain.end()
        at = text.find("@", at + 1)


def _readings(mailbox: str, domain: str) -> Iterator[str]:
    """Yields the address as it stands, and without what may only precede it; each with its domain in Unicode as
    well."""
    if len(domain) > EMAIL_MAX:
        return
    *labels, last = domain.split(".")
    ends = {last, re.split("[-_]", last)[0]} if not last.startswith(_PUNYCODE) else {last}
    domains = {domain_in_unicode(".".join([*labels, end])) for end in ends if end} | {domain}
    starts = [match.end() for match in _BEFORE.finditer(mailbox)][-_STARTS_MAX:]
    for start in starts if len(mailbox) > EMAIL_MAX else [0, *starts]:
        # A line, a list or a word in italics may begin with what could also begin a name.
        for name in {mailbox[start:], mailbox[start:].lstrip(_JOINERS)} - {""}:
            yield from (lowered(f"{name}@{spelling}") for spelling in domains)


def _profiles(text: str) -> Iterator[str]:
    for match in _PROFILE.findall(text):
        with suppress(InvalidInput):
            yield normalise_linkedin_url(match).lower()
