"""Reads dates that people write, in seven languages. A date with two possible meanings is not read."""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

_MONTHS: Final = (
    (
        "january",
        "jan",
        "januar",
        "jänner",
        "jän",
        "janvier",
        "janv",
        "enero",
        "ene",
        "januari",
        "gennaio",
        "gen",
        "janeiro",
    ),
    (
        "february",
        "feb",
        "februar",
        "feber",
        "février",
        "fevrier",
        "févr",
        "fév",
        "febrero",
        "februari",
        "febbraio",
        "febr",
        "fevereiro",
        "fev",
    ),
    ("march", "mar", "märz", "maerz", "mär", "mrz", "mars", "marzo", "maart", "mrt", "março", "marco"),
    ("april", "apr", "avril", "avr", "abril", "abr", "aprile"),
    ("may", "mai", "mayo", "mei", "maggio", "mag", "maio"),
    ("june", "jun", "juni", "juin", "junio", "giugno", "giu", "junho"),
    ("july", "jul", "juli", "juillet", "juil", "julio", "luglio", "lug", "julho"),
    ("august", "aug", "août", "aout", "agosto", "ago", "augustus"),
    ("september", "sep", "sept", "septembre", "septiembre", "setiembre", "settembre", "set", "setembro"),
    ("october", "oct", "oktober", "okt", "octobre", "octubre", "ottobre", "ott", "outubro", "out"),
    ("november", "nov", "novembre", "noviembre", "novembro"),
    ("december", "dec", "dezember", "dez", "décembre", "decembre", "déc", "diciembre", "dic", "dicembre", "dezembro"),
)
_MONTH_OF: Final = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
_WEEKDAYS: Final = (
    ("monday", "mon", "montag", "lundi", "lunes", "maandag", "lunedì", "lunedi", "segunda-feira", "segunda"),
    (
        "tuesday",
        "tue",
        "tues",
        "dienstag",
        "mardi",
        "martes",
        "dinsdag",
        "martedì",
        "martedi",
        "terça-feira",
        "terça",
        "terca-feira",
    ),
    (
        "wednesday",
        "wed",
        "mittwoch",
        "mercredi",
        "miércoles",
        "miercoles",
        "woensdag",
        "mercoledì",
        "mercoledi",
        "quarta-feira",
        "quarta",
    ),
    (
        "thursday",
        "thu",
        "thur",
        "thurs",
        "donnerstag",
        "jeudi",
        "jueves",
        "donderdag",
        "giovedì",
        "giovedi",
        "quinta-feira",
        "quinta",
    ),
    ("friday", "fri", "freitag", "vendredi", "viernes", "vrijdag", "venerdì", "venerdi", "sexta-feira", "sexta"),
    ("saturday", "samstag", "sonnabend", "samedi", "sábado", "sabado", "zaterdag", "sabato"),
    ("sunday", "sonntag", "dimanche", "domingo", "zondag", "domenica"),
)
_WEEKDAY_OF: Final = {name: number for number, names in enumerate(_WEEKDAYS) for name in names}
_FIRST: Final = "first|1st|ersten?|premier|primero|uno|eerste|primo|primeiro"
_TOMORROW: Final = "tomorrow|morgen|demain|mañana|domani|amanhã"


def _either(names: dict[str, int]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


_DAY: Final = r"(?P<{0}>\d{{1,2}})(?:st|nd|rd|th|er|\.|º|°|ª|:e)?"
_YEAR: Final = r"(?:,?\s+(?:de\s+|del\s+)?(?P<{0}>(?:19|20)\d\d)\b)?"
_NEXT: Final = re.compile(
    r"(?<![\w/.])(?<!\D-)(?:"
    r"(?P<iso>(?P<iy>20\d\d)[-./](?P<im>\d{1,2})[-./](?P<id>\d{1,2})(?![\d]))"
    rf"|(?:{_DAY.format('d1')})(?:\s*(?:of|de|di|d'|den)?\s+"
    rf"|\s*[-.]\s*)(?P<m1>{_either(_MONTH_OF)})\b\.?{_YEAR.format('y1')}"
    rf"|(?P<o>{_FIRST})\s+(?:(?:of|de|di|d')\s+)?(?P<m4>{_either(_MONTH_OF)})\b\.?{_YEAR.format('y4')}"
    rf"|(?P<m2>{_either(_MONTH_OF)})\b\.?\s+(?:the\s+)?{_DAY.format('d2')}(?![\d:])(?:\s*[-–—]\s*(?P<d5>\d{{1,2}})(?![\d:]))?{_YEAR.format('y2')}"
    r"|(?P<d3>\d{1,2})(?P<s>[./]|-(?=\d{1,2}-\d))\s?(?P<m3>\d{1,2})(?:(?P=s)\s?(?P<y3>\d{4}|\d{2}(?!\d|:)))?(?P<e>\.)?(?![\d:%])"
    rf"|(?P<w>{_either(_WEEKDAY_OF)})\b(?P<following>\s+(?:next week|nächster woche|prochaine?|próximo|prossimo))?"
    rf"|(?P<t>{_TOMORROW})\b"
    r")",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A date, and its position in the text.

    is_weekday: only a day of the week is named. ends_range: it is the last of several days, as in `May 3 - 13`.
    """

    day: date
    start: int
    end: int
    is_weekday: bool = False
    ends_range: bool = False


def dates_in(text: str, today: date | None, *, english: bool) -> list[Found]:
    """Returns the dates of a text, in order. A date without a year is the next one from a month before `today` on; a
    weekday is the next one after `today`. Without `today`, only dates with a year are read.

    english: then `03/04` may be in April or in March, and such a date is read only if one of the two numbers can't be a
    month.
    """
    found: list[Found] = []
    for match in _NEXT.finditer(text):
        day = _read(match, today, english=english)
        if day is not None:
            is_weekday = match["w"] is not None or match["t"] is not None
            found.append(Found(day, match.start(), match.end(), is_weekday, match["d5"] is not None))
    return [found_date for place, found_date in enumerate(found) if not _is_of_next(found, place)]


def _is_of_next(found: list[Found], place: int) -> bool:
    """Returns whether a weekday belongs to the date right after it, as in `Monday, 5 May`."""
    if not found[place].is_weekday or place + 1 >= len(found):
        return False
    return found[place + 1].start - found[place].end <= 8 and not found[place + 1].is_weekday


def _read(match: re.Match[str], today: date | None, *, english: bool) -> date | None:
    if match["iso"]:
        return _date(int(match["iy"]), int(match["im"]), int(match["id"]))
    if match["w"]:
        return _weekday(match["w"].lower(), today, later=match["following"] is not None)
    if match["t"]:
        return today + timedelta(days=1) if today else None
    month = match["m1"] or match["m2"] or match["m4"]
    if month:
        day = int(match["d1"] or match["d5"] or match["d2"] or 1)
        return _completed(day, _MONTH_OF[month.lower()], match["y1"] or match["y2"] or match["y4"], today)
    return _numeric(match, today, english=english)


def _numeric(match: re.Match[str], today: date | None, *, english: bool) -> date | None:
    first, second, mark = int(match["d3"]), int(match["m3"]), match["s"]
    if mark == "." and not (match["y3"] or match["e"]) and english:
        return None  # `2.5` is a number
    if mark == "-" and not match["y3"]:
        return None  # `9-12` is a time of day or a range
    if mark == "." or first > 12 or (not english and second <= 12):
        day, month = first, second
    elif second > 12:
        day, month = second, first
    elif first == second:
        day, month = first, second
    else:
        return None
    return _completed(day, month, match["y3"], today)


def _weekday(name: str, today: date | None, *, later: bool) -> date | None:
    if today is None:
        return None
    ahead = (_WEEKDAY_OF[name] - today.weekday() - 1) % 7 + 1
    if later and today.weekday() + ahead < 7:
        ahead += 7
    return today + timedelta(days=ahead)


def _completed(day: int, month: int, year: str | None, today: date | None) -> date | None:
    if year:
        return _date(int(year) + (2000 if len(year) == 2 else 0), month, day)
    if today is None:
        return None
    earliest = today - timedelta(days=31)
    candidates = (_date(today.year + ahead, month, day) for ahead in (-1, 0, 1))
    return next((candidate for candidate in candidates if candidate and candidate >= earliest), None)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
