"""What a text holds that it should not: line breaks where it becomes a header, characters that no database keeps."""

import re
from typing import Final

# C0, DEL and C1, and the two line breaks of Unicode.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# PostgreSQL stores neither NUL nor half of a surrogate pair.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


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
