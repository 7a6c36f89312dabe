"""How the store encodes times, JSON and names, and which values it refuses."""

import math
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

import orjson

from db.domain.errors import InvalidInput
from db.domain.jobs import MAX_NAME_CHARACTERS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TOKEN: Final = re.compile(r"[0-9a-f]{32}")
_JSON_ONLY: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

Word = TypeVar("Word", bound=StrEnum)


def to_microseconds(moment: datetime) -> int:
    """Returns the microseconds since 1970 of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def encode_json(name: str, value: object, max_bytes: int) -> str:
    """Returns the value as JSON text, or raises InvalidInput, which names the argument and the part that breaks the
    rule."""
    try:
        encoded = orjson.dumps(value, option=_JSON_ONLY)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(f"{name} can't be written as JSON: {error}. Send JSON values only.") from error
    if len(encoded) > max_bytes:
        raise InvalidInput(f"{name} is {len(encoded):,} bytes as JSON; at most {max_bytes:,} are kept. Send less.")
    # The encoder writes NaN as null and NUL as an escape, so only a text that contains one of these can hide them.
    if b"null" in encoded or b"\\u0000" in encoded:
        _refuse_unkept(name, value)
    return encoded.decode()


def decode_json(name: str, stored: object) -> tuple[object, tuple[str, ...]]:
    """Returns the stored JSON and no warning, or None and a warning: one broken row must not break a read."""
    if stored is None:
        return None, ()
    try:
        return orjson.loads(stored if isinstance(stored, bytes | str) else b""), ()
    except orjson.JSONDecodeError:
        return None, (f"{name} is null here: what is stored is not valid JSON.",)


def word(vocabulary: type[Word], name: str, value: str) -> Word:
    try:
        return vocabulary(value)
    except ValueError as error:
        known = ", ".join(vocabulary)
        raise InvalidInput(f"{name} {_shown(value)} is unknown. Use one of: {known}.") from error


def whole(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:  # pyright: ignore[reportUnnecessaryIsInstance] - an untyped caller must not slip a float into a time
        raise InvalidInput(f"{name} is {_shown(value)}; it must be a whole number from {low:,} to {high:,}.")
    return value


def label(name: str, value: str, most: int = MAX_NAME_CHARACTERS) -> str:
    """Returns a short text that can be stored and shown: no control characters, no half of a surrogate pair."""
    if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():  # pyright: ignore[reportUnnecessaryIsInstance] - an untyped caller must be told, not crash
        raise InvalidInput(f"{name} must be 1 to {most} printable characters, without line breaks.")
    return value


def prose(name: str, value: str, most: int) -> str:
    """Returns a longer text with line breaks."""
    if not isinstance(value, str) or not 1 <= len(value) <= most:  # pyright: ignore[reportUnnecessaryIsInstance] - an untyped caller must be told, not crash
        raise InvalidInput(f"{name} must be 1 to {most:,} characters.")
    if "\0" in value or not _encodable(value):
        raise InvalidInput(f"{name} must be text without NUL characters or halves of surrogate pairs.")
    return value


def token(value: str) -> str:
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:  # pyright: ignore[reportUnnecessaryIsInstance] - an untyped caller must be told, not crash
        raise InvalidInput("lease_token must be the 32 hexadecimal characters that claim_job returned with the job.")
    return value


def _refuse_unkept(path: str, value: object) -> None:
    """Refuses texts and numbers that can't be kept. Recursion is safe: the encoder has refused anything nested deeper
    than 254."""
    if isinstance(value, str) and "\0" in value:
        raise InvalidInput(f"{path} holds a NUL or half of a surrogate pair. Take the character out.")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{path} is {value}, which JSON can't express. Send a number or null.")
    elif isinstance(value, dict):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON from outside has no type
            _refuse_unkept(f"a name in {path}", key)  # pyright: ignore[reportUnknownArgumentType] - as above
            _refuse_unkept(f"{path}.{key}", item)  # pyright: ignore[reportUnknownArgumentType] - as above
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType] - as above
            _refuse_unkept(f"{path}[{index}]", item)  # pyright: ignore[reportUnknownArgumentType] - as above


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
