"""The words of a search."""

from typing import Final

from db.domain.errors import InvalidInput
from db.domain.texts import composed

MOST_WORDS: Final = 10
"""More would only cost: nobody is known by more."""


def words_of(search: str | None) -> list[str]:
    """Returns the words in NFC, each once in whatever case it is written. InvalidInput for more than MOST_WORDS."""
    words = {word.lower(): word for word in composed(search or "").split()}
    if len(words) > MOST_WORDS:
        raise InvalidInput(f"search: {len(words)} words, and {MOST_WORDS} are looked for. Leave the commonest out.")
    return list(words.values())
