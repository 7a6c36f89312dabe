"""What a careful person would see in the words of a draft before it goes out.

Pure functions of the words and of what is known of the person. They warn, and refuse nothing.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final
from urllib.parse import urlsplit

from db.domain.mail.visible import visible
from db.domain.placeholders import foreign_placeholders

_MOST: Final = 10
_LIQUID: Final = re.compile(r"\{\{[^{}\n]{0,100}\}\}|\{%[^%\n]{0,100}%\}")
_GREETING: Final = re.compile(
    r"\A\s*(?:hi|hello|hey|dear|good (?:morning|afternoon|evening)|hallo|liebe[rs]?|guten (?:tag|morgen)|bonjour"
    r"|cher|chère|salut|hola|estimad[oa]|querid[oa]|ciao|caro|cara|gentile|beste|olá|prezad[oa])"
    r"[ \t]+(?P<name>(?:(?:mr|mrs|ms|dr|prof)\.\s+)*[^\W\d_][^\n,!:;.\u2013\u2014-]{0,60}?)"
    r"[ \t]*(?:[,!:;.\u2013\u2014\n-]|\Z)",
    re.IGNORECASE,
)
# Words that greet without naming anybody, and titles.
_NOBODY: Final = frozenset(
    {
        *("there", "all", "team", "everyone", "everybody", "folks", "again", "friend", "friends", "both", "you"),
        *("sir", "madam", "mr", "mrs", "ms", "dr", "prof", "professor", "herr", "frau", "zusammen"),
        *("madame", "monsieur", "señor", "señora"),
    }
)
_NUMBER: Final = re.compile(
    r"(?<![\w.,/:-])[$€£]?\d[\d.,]*\d(?:\s?(?:%|percent|million|billion|k|m|bn))?(?![\w/:-])", re.IGNORECASE
)
_PLACE: Final = re.compile(r"\b(?:at|bei|chez)\s+(?P<name>[A-Z][\w&'-]*(?:\s+[A-Z][\w&'-]*){0,3})")
_LINK: Final = re.compile(r"\b(?:https?:[^\s<>\"')\]]*|www\.[^\s<>\"')\]]*)", re.IGNORECASE)
_MARKED_UP: Final = re.compile(r"\[[^\[\]\n]{1,100}\]\([^()\n]{0,300}\)")
_HOST: Final = re.compile(r"(?:[\w-]{1,63}\.)+[^\W\d_]{2,63}", re.UNICODE)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the person. `texts`: all other fields, of the person and of the campaign, as text.

    is_own: the words are the template's, so that what they claim is the campaign's and not made up.
    """

    first_name: str | None = None
    last_name: str | None = None
    texts: Iterable[str] = field(default_factory=tuple[str, ...])
    is_own: bool = False


def lint(subject: str | None, body: str, known: Known) -> list[str]:
    """Returns warnings, each with what it is about, at most ten."""
    said = [text for text in (subject, body) if text]
    told = dict.fromkeys(
        [
            *(warning for text in said for warning in _hidden(text)),
            *(warning for text in said for warning in _placeholders(text)),
            *_greeting(body, known),
            *(() if known.is_own else (warning for text in said for warning in _facts(text, known))),
            *(warning for text in said for warning in _links(text)),
        ]
    )
    return list(islice(told, _MOST))


def _hidden(text: str) -> Iterator[str]:
    if visible(text) != text.replace("\u00a0", " "):
        yield "hidden: it holds characters that nobody sees, which may hide words or turn them round."


def _placeholders(text: str) -> Iterator[str]:
    for found in [*_LIQUID.findall(text), *foreign_placeholders(text)]:
        yield f"placeholder: {found} is not filled in, and would go out as it stands."


def _greeting(body: str, known: Known) -> Iterator[str]:
    match = _GREETING.match(body)
    if match is None:
        return
    greeted = [word.strip("'\u2019\"").casefold() for word in match["name"].split()]
    names = {word.casefold() for name in (known.first_name, known.last_name) if name for word in [name, *_words(name)]}
    strange = [word for word in greeted if word and word.rstrip(".") not in _NOBODY and word not in names]
    if strange and " ".join(greeted) not in names:
        whom = " ".join(filter(None, (known.first_name, known.last_name))) or "no name"
        yield f"name: it greets {match['name'].strip()}, and the person has {whom}."


def _words(name: str) -> list[str]:
    return re.split(r"[\s-]+", name)


def _facts(text: str, known: Known) -> Iterator[str]:
    fields = " \n ".join([*known.texts, known.first_name or "", known.last_name or ""]).casefold()
    plain = _LINK.sub(" ", text)
    for match in _NUMBER.finditer(plain):
        if match[0].strip(" $€£%").casefold() not in fields:
            yield f"fact: {match[0]} is in no field of the person or the campaign."
    for match in _PLACE.finditer(plain):
        if match["name"].casefold() not in fields:
            yield f"fact: {match['name']} is in no field of the person or the campaign."


def _links(text: str) -> Iterator[str]:
    for match in _MARKED_UP.finditer(text):
        yield f"link: {match[0]} is Markdown, which mails show as it stands. Write the address alone."
    for match in _LINK.finditer(text):
        if not _leads_somewhere(match[0].rstrip(".,;:!?")):
            yield f"link: {match[0]} leads nowhere."


def _leads_somewhere(link: str) -> bool:
    try:
        host = urlsplit(link if "://" in link else f"https://{link}").hostname or ""
    except ValueError:
        return False
    return _HOST.fullmatch(host) is not None and not link.lower().startswith(("http:///", "https:///"))
