"""Recognises a person's wish to get no more mail, if it is clear."""

import re
from typing import Final

from db.domain.mail.patterns import plain
from db.domain.mail.sentences import sentences_of
from db.domain.mail.verdict import Reason
from db.domain.mail.wish_words import OTHERWISE, REQUESTS, WISHES

_AROUND: Final = 24


def wish_to_leave(subject: str, text: str) -> Reason | None:
    """Returns the sentence in which the person asks for no more mail. `subject` is used if there is no text."""
    for sentence in sentences_of(text) or (subject,):
        words = plain(sentence)
        found = WISHES.search(words)
        is_question = sentence.endswith(("?", "\uff1f")) and not REQUESTS.search(words)
        if found and not is_question and not _says_otherwise(words, found):
            return Reason.of("words_of_unsubscribing", sentence)
    return None


def _says_otherwise(words: str, found: re.Match[str]) -> bool:
    """Returns whether the words around it change the meaning: a condition, a negation, a question about a program."""
    return OTHERWISE.search(words[: found.end() + _AROUND]) is not None
