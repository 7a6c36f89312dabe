"""What a process takes for the present time: the machine's clock, or a file that a program outside writes."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

_HOW = "write the time in ISO 8601 with its offset, such as 2026-03-02T09:00:00Z"


def system_clock() -> datetime:
    """Returns the machine's time."""
    return datetime.now(UTC)


def time_in(path: Path) -> datetime:
    """Returns the time that a file holds. ValueError, with what to do, if it holds none or can't be read."""
    try:
        written = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"the file can't be read ({reason}); {_HOW}") from None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"the file holds no time; {_HOW}") from None
    if moment.tzinfo is None:
        raise ValueError(f"the time in the file has no offset; {_HOW}")
    return moment.astimezone(UTC)


class FileClock:
    """The time of a file, read again at each call: the last one that could be read, while somebody writes the next.

    ValueError if there is none from the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = time_in(path)

    def __call__(self) -> datetime:
        with suppress(ValueError):
            self._last = time_in(self._path)
        return self._last
