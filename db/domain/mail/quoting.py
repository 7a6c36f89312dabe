"""Extracts what a person wrote from a text with quotes, signatures, disclaimers and forwarded mails.

One pass labels each line, and the next decides which lines are the person's. Lines themselves are not changed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from db.domain.mail.message import LOOK_CHARACTERS
from db.domain.mail.quote_words import (
    CONTACT,
    DELIMITER,
    DEVICE,
    DISCLAIMER,
    FOOTER,
    HEADER,
    HEADER_FROM,
    INTRO_LINES,
    ORIGINAL,
    POSTSCRIPT,
    SIGN_OFF,
    begins_with_date,
    begins_with_name,
    ends_with_time,
    is_intro,
    may_introduce,
)
from db.domain.mail.visible import visible

_LINE_LOOK: Final = 1_000
_WRAP_LENGTH: Final = 58
_SIGNATURE_LINES: Final = 12
_HEADER_SPAN: Final = 12
_NAME_WORDS: Final = 5


class _Line(StrEnum):
    TEXT = "text"
    EMPTY = "empty"
    QUOTE = "quote"
    INTRO = "intro"
    HEADER = "header"
    ORIGINAL = "original"
    DELIMITER = "delimiter"
    DEVICE = "device"
    FOOTER = "footer"


_LABELS: Final = (
    (_Line.ORIGINAL, ORIGINAL.match),
    (_Line.DELIMITER, DELIMITER.match),
    (_Line.DEVICE, DEVICE.match),
    (_Line.FOOTER, DISCLAIMER.match),
    (_Line.FOOTER, FOOTER.match),
    (_Line.HEADER, HEADER.match),
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote.

    quoted: the quote or forwarded mail that was cut, with its introduction.
    is_own: False if the person wrote nothing, and `text` is the forwarded or quoted mail.
    """

    text: str
    quoted: str = ""
    is_own: bool = True


def said_in(text: str, *, name: str = "") -> Said:
    """Returns the person's words in the text of a mail. `name` is the sender's name, which may be the signature."""
    lines = _unwrapped(visible(text[:LOOK_CHARACTERS]).replace("\r\n", "\n")).split("\n")
    labels = _labels(lines)
    first = next((number for number, label in enumerate(labels) if label is _Line.TEXT), None)
    if first is None:
        return Said("", "\n".join(lines).strip(), is_own=False)
    if any(label in (_Line.INTRO, _Line.ORIGINAL, _Line.HEADER) for label in labels[:first]):
        return _under_introduction(lines, labels, first, name)
    end = _end(labels, first)
    kept = _without_signature(
        [line for line, label in zip(lines[:end], labels[:end], strict=True) if label in _OWN], name
    )
    return Said("\n".join(kept).strip(), _quoted(lines, labels, end))


_OWN: Final = (_Line.TEXT, _Line.EMPTY)


def _unwrapped(text: str) -> str:
    """Returns the lines without the armour of a signed text (PGP)."""
    begin, end = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"
    start = text.find(begin)
    if start < 0:
        return text
    body = text[start + len(begin) :].partition("\n\n")[2]
    return text[:start] + body.partition(end)[0]


def _labels(lines: list[str]) -> list[_Line]:
    lowered = [line[:_LINE_LOOK].lower() for line in lines]
    labels = [_label(line) for line in lowered]
    first = next((number for number, label in enumerate(labels) if label is not _Line.EMPTY), 0)
    if labels[first] is _Line.FOOTER:  # there is nothing above it, so these are the person's words
        labels[first] = _Line.TEXT
    number = 0
    while number < len(lines):
        span = _intro_span(lowered, labels, number)
        for part in range(number, number + span):
            labels[part] = _Line.INTRO
        number += span or 1
    _keep_headers(lines, labels)
    return labels


def _label(line: str) -> _Line:
    stripped = line.strip()
    if not stripped:
        return _Line.EMPTY
    if stripped[0] in ">|":
        return _Line.QUOTE
    for label, is_labelled in _LABELS:
        if is_labelled(stripped):
            return label
    return _Line.TEXT


def _intro_span(lines: list[str], labels: list[_Line], number: int) -> int:
    """Returns how many lines, from this one on, introduce a quote together; 0 for none. Programs break them
    anywhere."""
    if labels[number] is not _Line.TEXT and labels[number] is not _Line.HEADER:
        return 0
    line = lines[number]
    if begins_with_date(line):
        span = _span(lines, labels, number, INTRO_LINES)
        return 0 if any(_begins_later(lines, labels, later) for later in range(number + 1, number + span)) else span
    if not any(map(may_introduce, lines[number : number + 2])) or not begins_with_name(line):
        return 0
    # A sentence may hold a name and end in a colon: only an address, or a quote below, makes it an introduction.
    span = _span(lines, labels, number, 2)
    below = next((label for label in labels[number + span : number + span + 3] if label is not _Line.EMPTY), None)
    joined = " ".join(lines[number : number + span])
    return span if span and (below is _Line.QUOTE or "@" in joined or ends_with_time(joined)) else 0


def _begins_later(lines: list[str], labels: list[_Line], number: int) -> bool:
    line = lines[number]
    return line[:1].isalpha() and begins_with_date(line) and _span(lines, labels, number, INTRO_LINES) > 0


def _span(lines: list[str], labels: list[_Line], number: int, most: int) -> int:
    joined = ""
    for span in range(1, most + 1):
        place = number + span - 1
        if place >= len(lines) or labels[place] in (_Line.ORIGINAL, _Line.DELIMITER):
            return 0
        joined += lines[place] + " "
        if is_intro(joined):
            return span
    return 0


def _keep_headers(lines: list[str], labels: list[_Line]) -> None:
    """Labels headers as text unless enough headers of a quoted mail stand together."""
    number = 0
    while number < len(lines):
        if labels[number] is not _Line.HEADER:
            number += 1
            continue
        end = last = number
        count, has_sender = 0, False
        while (
            end < len(lines)
            and end - last <= 2
            and end - number < _HEADER_SPAN
            and labels[end] not in (_Line.EMPTY, _Line.QUOTE)
        ):
            if labels[end] is _Line.HEADER:
                count, last = count + 1, end
                has_sender = has_sender or HEADER_FROM.match(lines[end]) is not None
            end += 1
        is_block = count >= 3 or (
            count >= 2
            and has_sender
            and ("@" in lines[number] or labels[max(0, number - 1)] in (_Line.DELIMITER, _Line.ORIGINAL))
        )
        for part in range(number, last + 1):
            labels[part] = _Line.HEADER if is_block else _Line.TEXT
        if is_block:  # a subject may continue on the next line
            number = last + 1
        else:
            number += 1


def _end(labels: list[_Line], first: int) -> int:
    """Returns the end of the person's words that begin at `first`."""
    for number in range(first, len(labels)):
        label = labels[number]
        if label is _Line.TEXT:
            continue
        if label in (_Line.DELIMITER, _Line.ORIGINAL, _Line.HEADER, _Line.FOOTER):
            return number
        if label is _Line.INTRO and not _is_answered(labels, number):
            return number
    return len(labels)


def _is_answered(labels: list[_Line], intro: int) -> bool:
    """Returns whether the person's text continues below the quote that is introduced there: quote, text, and so on."""
    rest = labels[intro + 1 :]
    place = next((number for number, label in enumerate(rest) if label is not _Line.EMPTY), None)
    return place is not None and rest[place] is _Line.QUOTE and _Line.TEXT in rest[place:]


def _under_introduction(lines: list[str], labels: list[_Line], first: int, name: str) -> Said:
    """Handles a text that begins with an introduction: an answer below the quote, or else a mail that is only
    forwarded."""
    if _Line.QUOTE in labels[:first]:
        end = _end(labels, first)
        kept = [line for line, label in zip(lines[first:end], labels[first:end], strict=True) if label in _OWN]
        return Said("\n".join(_without_signature(kept, name)).strip(), "\n".join(lines[:first]).strip())
    kept = [line for line, label in zip(lines, labels, strict=True) if label in (_Line.TEXT, _Line.EMPTY, _Line.QUOTE)]
    return Said("\n".join(kept).strip(), "\n".join(lines).strip(), is_own=False)


def _quoted(lines: list[str], labels: list[_Line], end: int) -> str:
    inside = [
        line for line, label in zip(lines[:end], labels[:end], strict=True) if label in (_Line.QUOTE, _Line.INTRO)
    ]
    return "\n".join([*inside, *lines[end:]]).strip()


def _without_signature(lines: list[str], name: str) -> list[str]:
    """Returns the lines without those below the name. The greeting and the name are the person's."""
    begin = max(1, len(lines) - _SIGNATURE_LINES - 4)
    for number in range(begin, len(lines)):
        if SIGN_OFF.match(lines[number]):
            return _until_name(lines, number)
    last, _, first = name.partition(", ")  # as Exchange spells names
    name = f"{first} {last}".strip()
    words = name.split()
    for number in range(begin, len(lines)):
        line = lines[number].strip()
        if len(words) > 1 and line.startswith(name) and not lines[number - 1].strip():
            return lines[: number + 1] if line == name and _is_last(lines, number) else lines[:number]
        if words and line == words[0]:
            return lines[: number + 1]
    return _without_contact(lines)


def _without_contact(lines: list[str]) -> list[str]:
    """Returns the lines without a last paragraph that only has somebody's workplace and contact details."""
    begin = next((number + 1 for number in range(len(lines) - 2, 0, -1) if not lines[number].strip()), 0)
    block = [line.strip() for line in lines[begin:] if line.strip()]
    if (
        begin == 0
        or not 2 <= len(block) <= _SIGNATURE_LINES
        or any(len(line) > 90 or line[-1] in ".!?:," for line in block)
    ):
        return lines
    return lines[:begin] if any(CONTACT.match(line) for line in block[1:]) else lines


def _is_last(lines: list[str], number: int) -> bool:
    return not any(line.strip() for line in lines[number + 1 :])


def _until_name(lines: list[str], sign_off: int) -> list[str]:
    filled = [number for number in range(sign_off + 1, len(lines)) if lines[number].strip()]
    if len(filled) < 2 or len(lines[filled[0]].split()) > _NAME_WORDS:
        return lines
    after = [number for number in filled[1:] if POSTSCRIPT.match(lines[number])]
    return [*lines[: filled[0] + 1], *(["", *lines[after[0] :]] if after else [])]
