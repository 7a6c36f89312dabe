"""Splits a text into sentences, for rules whose evidence is a sentence."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from db.domain.mail.patterns import any_of

SENTENCES_MAX: Final = 150
SENTENCE_CHARACTERS: Final = 600
_ABBREVIATION_CHARACTERS: Final = 12
"""More than the longest abbreviation, its full stop and what stands before it."""

# A full stop ends a sentence unless it follows a digit, as in `5. Mai`, or one or two letters.
_END: Final = any_of(
    r"""
    (?<=[!?。！？])\s*|(?<=(?<![\s(]\w)(?<![\s(]\w\w)(?<!\d)\.)[\"')\]]?\s+
    (?<=\d\.)\s+(?=(?:I|We|Please|Ich|Bitte|In|For|Je|Si|Para|Bei)\b)|\n\s*\n
    """,
    flags=re.NOFLAG,
)
_ABBREVIATED: Final = any_of(
    r"""
    inkl|incl|einschl|bzw|evtl|ggf|usw|tel|mrs|messrs|prof|dra?|sra?|sres|sig|sra|mme|mlle|dhr|mevr|jan|feb|mar
    apr|jun|jul|aug|sept?|oct|okt|nov|dec|dez|déc|janv|févr|avr|juil|ene|abr|ago|dic|gen|mag|giu|lug|ott|out
    mon|tues?|wed|thur?s?|fri|sat|sun|lun|mar|mer|jeu|ven|sam|dim|mié|jue|vie|gio|sab|dom|seg|ter|qua|qui|sex
    """,
    before=r"\b",
    after=r"\.$",
)


@lru_cache(maxsize=16)  # several rules look at the same text, one after the other
def sentences_of(text: str) -> tuple[str, ...]:
    """Returns the sentences, each on one line: at most SENTENCES_MAX, and none longer than SENTENCE_CHARACTERS."""
    sentences: list[str] = []
    for part in _parts(_unwrapped(text)):
        sentence = " ".join(part.split())
        before = sentences[-1] if sentences else ""
        if _is_abbreviated(before) and len(before) < SENTENCE_CHARACTERS:
            sentences[-1] = f"{sentences[-1]} {sentence}"[:SENTENCE_CHARACTERS]
        elif sentence:
            sentences.append(sentence[:SENTENCE_CHARACTERS])
        if len(sentences) >= SENTENCES_MAX:
            break
    return tuple(sentences)


@lru_cache(maxsize=16)
def lowered_sentences_of(text: str) -> tuple[str, ...]:
    """Returns the sentences in lower case."""
    return tuple(map(str.lower, sentences_of(text)))


def _parts(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        yield text[start : end.start()]
        start = end.end()
    yield text[start:]


def _is_abbreviated(sentence: str) -> bool:
    end = sentence[-_ABBREVIATION_CHARACTERS:]
    return end.endswith(".") and _ABBREVIATED.search(end) is not None


def _unwrapped(text: str) -> str:
    """Joins the lines of a paragraph. Short lines, such as those of a list or a greeting, stay separate."""
    lines = text.split("\n")
    out: list[str] = []
    for line in lines:
        out.append(line)
        out.append("\n" if len(line) >= 45 else "\n\n")
    return "".join(out)
