"""Names that say that what they name is a secret, in any spelling: api_key, apiKey, X-API-Key, client-secret."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, cast

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_WORDS: Final = frozenset(
    {"password", "passwd", "passphrase", "pwd", "secret", "authorization", "credentials", "bearer"}
)
# Where words are written together, those that no other word ends in.
_ENDINGS: Final = (
    "apikey", "accesskey", "privatekey", "secretkey", "signingkey", "authkey", "token", "secret", "password",
)  # fmt: skip
_LONGEST: Final = 200


def names_a_secret(name: str) -> bool:
    """Returns whether a key of that name is for a secret. Names longer than any in use are cut first."""
    plain = unicodedata.normalize("NFKC", name[:_LONGEST])
    words = [word.lower() for word in _WORD.findall(plain)]
    return bool(_WORDS.intersection(words)) or "".join(words).endswith(_ENDINGS)


def secrets_in(value: object) -> Iterator[str]:
    """Yields the keys in a JSON value, however deep, that name a secret."""
    if isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            if names_a_secret(key):
                yield key
            yield from secrets_in(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from secrets_in(item)
