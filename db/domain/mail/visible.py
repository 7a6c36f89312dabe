"""Removes invisible characters from texts."""

import re
from typing import Final

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\U000e0000-\U000e007f]"
)
# Emoji, Persian and the scripts of India need joiners. Between Latin letters, joiners only hide text.
_JOINERS: Final = re.compile("(?<![^\\x00-\u024f])[\u200c\u200d]|[\u200c\u200d](?![^\\x00-\u024f])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ASCII_CONTROLS: Final = dict.fromkeys(set(range(32)) - {9, 10, 13} | {127})
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]")


def visible(text: str) -> str:
    """Returns the text as a reader sees it: without invisible and control characters, and with spaces for no-break
    spaces."""
    if text.isascii():
        return text.translate(_ASCII_CONTROLS)
    shown = _JOINERS.sub("", _INVISIBLE.sub("", text))
    return _CONTROLS.sub("", shown).replace("\u00a0", " ")


def hidden_tags(text: str) -> str:
    """Returns text in tag characters (from U+E0020 on), which no font shows, as ASCII."""
    if text.isascii():
        return ""
    return "".join(chr(ord(character) - 0xE0000) for character in _TAGS.findall(text))
