"""What a text holds that it should not: line breaks where it becomes a header, characters that no database keeps."""

import re
import unicodedata
from typing import Final

# C0, DEL and C1, and the two line breaks of Unicode.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# PostgreSQL stores neither NUL nor half of a surrogate pair.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

# Letters and symbols by their category, and nothing to the eye: fillers of Hangul, the joiner, the empty braille cell.
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")


def one_line(text: str) -> str:
    """The text with a space for each run of line breaks and other control characters."""
    return _CONTROLS.sub(" ", text)


def is_one_line(text: str) -> bool:
    return _CONTROLS.search(text) is None


def is_storable(text: str) -> bool:
    return _UNSTORABLE.search(text) is None


def storable_part(text: str) -> str:
    """The text without what can't be stored."""
    return _UNSTORABLE.sub("", text)


def is_blank(text: str) -> bool:
    """Whether nothing of it can be seen."""
    return not any(map(_is_seen, text))


def _is_seen(character: str) -> bool:
    hidden = character.isspace() or character in _UNSEEN or unicodedata.category(character) in ("Cc", "Cf")
    return not hidden
