"""What the DNS of a domain says of mail that claims to come from it: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 7489),
and where its own mail goes (MX; RFC 7505 for none). Pure: the caller looks the records up.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SPF_LOOKUPS_MAX: Final = 10
"""A receiver ends after as many further lookups, and the record counts as broken (RFC 7208, 4.6.4)."""
_TERMS_MAX: Final = 100
_LABELS_MAX: Final = 8
SELECTORS: Final = (
    "google", "selector1", "selector2", "fm1", "fm2", "fm3", "sig1", "s1", "s2", "k1", "k2", "k3", "default", "mail",
    "dkim", "zoho", "protonmail", "mandrill", "mailjet", "pm", "brevo1", "brevo2", "resend", "ionos1",
)  # fmt: skip
"""The names under which usual hosts publish a DKIM key."""


class Finding(StrEnum):
    """What is wrong with the records of a domain."""

    ABSENT = "absent"
    SEVERAL = "several"
    BROKEN = "broken"
    TOO_MANY_LOOKUPS = "too_many_lookups"
    ALLOWS_ALL = "allows_all"
    NO_END = "no_end"
    NO_MAIL = "no_mail"


@dataclass(frozen=True, slots=True)
class Spf:
    """The SPF record of a domain, and what is wrong with it. lookups: how many further ones it takes."""

    record: str | None
    finding: Finding | None = None
    lookups: int = 0


Texts = Callable[[str], Sequence[str]]
"""Returns the TXT records of a name, each in one piece; none if there is no such name."""


def spf(domain: str, texts: Texts) -> Spf:
    """Returns what the domain publishes. What other domains publish is looked up as far as it includes them."""
    found = _of_version(texts(domain), "v=spf1")
    if not found:
        return Spf(None, Finding.ABSENT)
    if len(found) > 1:
        return Spf(found[0], Finding.SEVERAL)
    record = found[0]
    lookups = _lookups(record, texts, {domain.lower()})
    end = _end(record)
    if end == "broken":
        return Spf(record, Finding.BROKEN, lookups)
    if lookups > SPF_LOOKUPS_MAX:
        return Spf(record, Finding.TOO_MANY_LOOKUPS, lookups)
    finding = {"+all": Finding.ALLOWS_ALL, "all": Finding.ALLOWS_ALL, None: Finding.NO_END}.get(end)
    return Spf(record, finding, lookups)


def _of_version(records: Sequence[str], version: str) -> list[str]:
    """Returns the records that begin with the version, as a word of its own."""
    return [text for text in records if re.match(rf"{re.escape(version)}(?:[\s;]|$)", text, re.IGNORECASE)]


_TERM: Final = re.compile(
    r"(?:[-+~?]?(?:all|include:\S+|a(?:[:/]\S+)?|mx(?:[:/]\S+)?|ptr(?::\S+)?|ip4:\S+|ip6:\S+|exists:\S+)"
    r"|[a-z][\w.-]*=\S*)$",
    re.IGNORECASE,
)
_LOOKS_UP: Final = re.compile(r"[-+~?]?(include:|a(?=[:/]|$)|mx(?=[:/]|$)|ptr(?=:|$)|exists:)|redirect=", re.IGNORECASE)


def _terms(record: str) -> list[str]:
    return record.split()[1 : _TERMS_MAX + 1]


def _end(record: str) -> str | None:
    """Returns how the record ends: its `all` as it is written, "redirect", or None for neither; "broken" if a term of
    it is none."""
    end = None
    for term in _terms(record):
        if not _TERM.match(term):
            return "broken"
        lower = term.lower()
        if lower.lstrip("+-~?") == "all":
            return lower
        if lower.startswith("redirect="):
            end = "redirect"
    return end


def _lookups(record: str, texts: Texts, seen: set[str]) -> int:
    """Returns how many lookups the record takes with all that it includes; one more than is allowed for any more."""
    count = 0
    for term in _terms(record):
        if not _LOOKS_UP.match(term):
            continue
        count += 1
        lower = term.lower().lstrip("+-~?")
        other = lower.partition(":")[2] if lower.startswith("include:") else lower.partition("redirect=")[2]
        if other and "%" not in other and other not in seen and len(seen) <= SPF_LOOKUPS_MAX:
            seen.add(other)
            included = _of_version(texts(other), "v=spf1")
            count += _lookups(included[0], texts, seen) if included else 0
        if count > SPF_LOOKUPS_MAX:
            return SPF_LOOKUPS_MAX + 1
    return count


@dataclass(frozen=True, slots=True)
class Dmarc:
    """The DMARC record that holds for a domain, and where it stands. policy: none, quarantine or reject."""

    record: str | None
    place: str | None = None
    policy: str | None = None
    finding: Finding | None = None


def dmarc(domain: str, texts: Texts) -> Dmarc:
    """Returns the record of the domain, or else that of the nearest domain above it."""
    for name in _upwards(domain):
        place = f"_dmarc.{name}"
        found = _of_version(texts(place), "v=DMARC1")
        if len(found) > 1:
            return Dmarc(found[0], place, None, Finding.SEVERAL)
        if found:
            return _dmarc(found[0], place, is_above=name != domain)
    return Dmarc(None, None, None, Finding.ABSENT)


def _upwards(domain: str) -> Iterator[str]:
    """Yields the domain and those above it, without the top level, and of a long name those of 7 labels and fewer, so
    that a name of a hundred labels asks for no hundred records."""
    labels = domain.split(".")
    yield domain
    for start in range(1 if len(labels) <= _LABELS_MAX else len(labels) - _LABELS_MAX + 1, len(labels) - 1):
        yield ".".join(labels[start:])


def _dmarc(record: str, place: str, *, is_above: bool) -> Dmarc:
    tags = {
        name.strip().lower(): value.strip().lower()
        for name, sign, value in (part.partition("=") for part in record.split(";")[:_TERMS_MAX])
        if sign
    }
    policy = (tags.get("sp") if is_above else None) or tags.get("p")
    known = policy in ("none", "quarantine", "reject")
    return Dmarc(record, place, policy if known else None, None if known else Finding.BROKEN)


def has_dkim_key(records: Sequence[str]) -> bool:
    """Returns whether one of the records of a selector holds a key; one without was taken back by its owner."""
    return any(re.search(r"(?:^|;)\s*p\s*=\s*[\w+/]", text) for text in records)


_PASSED: Final = re.compile(r"\bdkim\s*=\s*pass\b([^;]*)", re.IGNORECASE)
_SIGNER: Final = re.compile(r"\bheader\.(?:d\s*=\s*|i\s*=\s*(?:\"?[^\s@;\"]*\"?)@)\"?([\w.-]+)", re.IGNORECASE)


def passed_dkim(results: str, domain: str) -> bool:
    """Returns whether an Authentication-Results header (RFC 8601) tells of a valid signature of the domain, or of one
    above or below it that belongs to the same owner (relaxed alignment, RFC 7489 3.1.1)."""
    signers = (
        signer.group(1).lower().rstrip(".")
        for passed in _PASSED.finditer(results)
        for signer in _SIGNER.finditer(passed.group(1))
    )
    own = domain.lower()
    return any(
        signer == own or own.endswith(f".{signer}") or signer.endswith(f".{own}") for signer in signers if "." in signer
    )


def mx(hosts: Sequence[str]) -> Finding | None:
    """Returns what is wrong with the MX records of a domain, given as host names without their last dot; the one of a
    domain that takes no mail is empty."""
    if not hosts:
        return Finding.ABSENT
    return Finding.NO_MAIL if list(hosts) == [""] else None
