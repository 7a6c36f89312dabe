"""Reads automatic answers of people who are away or have left."""

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

from db.domain.mail.absence_words import AWAY, LEFT, LEFT_A_NAME, MEANWHILE, RETURN
from db.domain.mail.dates import Found, dates_in
from db.domain.mail.patterns import any_of, straight
from db.domain.mail.sentences import lowered_sentences_of, sentences_of
from db.domain.mail.verdict import Reason

_UNTIL: Final = re.compile(
    r"(?P<inclusive>\b(?:through(?! to)|thru|up to and including|until and including|until the end of"
    r"|(?:bis )?einschließlich|bis inkl\.?|bis einschl\.?|bis (?:und|incl)\.? mit|jusqu'au .{0,30}inclus|t/m"
    r"|tot en met|hasta el .{0,30}inclusive|fino al .{0,30}compreso|até .{0,30}inclusive)\b)"
    r"|\b(?:until|till?|'til|to|bis|jusqu'(?:au|à|en)|jusque|au|hasta|al|tot|fino a\w*|sino al|até|ao|a|e"
    r"|y|and)\b|[-–—]",
    re.IGNORECASE,
)
_INCLUSIVE: Final = any_of(
    r"""
    \b(?:inclusive|included|einschließlich|inklusive|inkl|incl|inclus|inclusi|compres[oi]|incluso|incluido|inclusief)\b
    """,
)
_ENGLISH: Final = re.compile(r"\b(?:the|and|will|my|your|please|office|with|have|until|from|back)\b", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"[^\s<>@,;:\"'()\[\]*]{1,64}@[a-zA-Z0-9][a-zA-Z0-9.-]{0,200}[a-zA-Z0-9]")


def away(text: str) -> Reason | None:
    """Returns the sentence that says that somebody is away."""
    for sentence, lowered in zip(sentences_of(text), lowered_sentences_of(text), strict=True):
        if AWAY.search(straight(lowered)):
            return Reason.of("words_of_absence", sentence)
    return None


@lru_cache(maxsize=4)  # as sentences_of
def left(text: str) -> Reason | None:
    """Returns the sentence that says that somebody has left for good."""
    for sentence, lowered in zip(sentences_of(text), lowered_sentences_of(text), strict=True):
        is_left = LEFT.search(straight(lowered))
        if is_left or (_names_what_was_left(lowered) and LEFT_A_NAME.search(straight(sentence))):
            return Reason.of("words_of_leaving", sentence)
    return None


def _names_what_was_left(lowered: str) -> bool:
    """Returns whether the words of LEFT_A_NAME can be in the sentence."""
    return "left " in lowered or "quitté " in lowered or "lasciato " in lowered


def successor(text: str, *, besides: frozenset[str]) -> str | None:
    """Returns the first address in the text that is not one of those."""
    addresses = (found.lower().rstrip(".") for found in _ADDRESS.findall(text))
    return next((address for address in addresses if address not in besides), None)


def day_of_return(text: str, today: date | None) -> date | None:
    """Returns the day on which somebody who is away is back, if the text names it."""
    english = len(_ENGLISH.findall(text[:4_000])) >= 2
    sentences = [straight(sentence) for sentence in sentences_of(text)]
    for read in (_after_return, _after_until):
        for sentence in sentences:
            day = read(sentence, today, english=english)
            if day is not None:
                return day
    return None


def _after_return(sentence: str, today: date | None, *, english: bool) -> date | None:
    cues = list(RETURN.finditer(sentence))
    if not cues:
        return None
    found = dates_in(sentence, today, english=english)
    for cue in cues:
        later = [found_date for found_date in found if cue.end() <= found_date.start <= cue.end() + 60]
        if later and not _is_until(sentence, later[0], cue.end()):
            return later[0].day
    for cue in cues:
        before = [
            found_date for found_date in found if found_date.end <= cue.start() and cue.start() - found_date.end <= 40
        ]
        if before and not _governs(sentence, before[-1]):
            return before[-1].day
    return None


def _is_until(sentence: str, one: Found, since: int) -> bool:
    between = sentence[since : one.start]
    return re.search(r"\b(?:until|till|bis|hasta|tot|fino)\b", between, re.IGNORECASE) is not None


def _governs(sentence: str, one: Found) -> re.Match[str] | None:
    """Returns the word before a date that says that the absence lasts until then."""
    before = sentence[max(0, one.start - 40) : one.start]
    cues = [
        cue for cue in _UNTIL.finditer(before) if re.fullmatch(r"[\s,']*(?:[\w'.]+[\s,]+){0,4}", before[cue.end() :])
    ]
    return cues[-1] if cues else None


def _after_until(sentence: str, today: date | None, *, english: bool) -> date | None:
    if not (AWAY.search(sentence.lower()) or _UNTIL.search(sentence)):
        return None
    for found_date in reversed(dates_in(sentence, today, english=english)):
        cue = _governs(sentence, found_date)
        if cue is None and not found_date.ends_range:
            continue
        is_inclusive = (cue is not None and cue["inclusive"] is not None) or _INCLUSIVE.search(
            sentence[found_date.end : found_date.end + 20]
        )
        return found_date.day + timedelta(days=1) if is_inclusive else found_date.day
    return None


def announces(subject: str, text: str) -> Reason | None:
    """Returns the sentence that says that somebody is away or has left, if the text says nothing else, as those of
    programs do."""
    reason = away(text) or left(text)
    if reason is None or "?" in text:
        return None
    is_alone = not re.match(r"\s*(?:re|aw|sv|antw|rv|res|r)\s?:", subject, re.IGNORECASE)
    if MEANWHILE.search(text) or (is_alone and len(sentences_of(text)) <= 4):
        return reason
    return None
