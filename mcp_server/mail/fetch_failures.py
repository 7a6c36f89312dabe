"""Mails that an IMAP server does not give: each is tried by itself, and left for later if the others can be fetched."""

import imaplib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from imapclient.exceptions import ProtocolError  # pyright: ignore[reportMissingTypeStubs]  it has none

TRIES: Final = 2
"""A mail that fails as often by itself is left for later."""
PATIENCE_SECONDS: Final = 600.0
"""For as long a server may fail at all mails that are asked of it, before they are left for later."""
_IN_A_ROW_MOST: Final = 3
"""As many mails in a row that are refused, and none that is given, are the server's fault."""

FAILURES: Final = (imaplib.IMAP4.error, OSError, EOFError)
"""What fetching a mail raises: a refusal, or the end of the connection."""

Content = TypeVar("Content")
Fetch = Callable[[Sequence[int]], Mapping[int, Content]]


class Place(NamedTuple):
    """A folder, and which part of its mails is fetched: headers or bodies."""

    folder: str
    uidvalidity: int
    part: str


@dataclass(slots=True)
class _Failed:
    since: float
    count: int = 0


class FetchFailures:
    """One for a mailbox: it outlasts connections, which such a mail may end."""

    def __init__(self) -> None:
        self._failed: dict[tuple[Place, int], _Failed] = {}

    @property
    def is_any(self) -> bool:
        """Whether there are mails that could not be fetched, alone or with others, and were not fetched since."""
        return bool(self._failed)

    def fetch(
        self, place: Place, uids: Sequence[int], fetch: Fetch[Content], gives_another: Callable[[], bool]
    ) -> tuple[dict[int, Content], Sequence[int]]:
        """Returns what `fetch` gives, and the UIDs of mails that are left for later. Raises what it raises where that
        may be for more than single mails. gives_another: asked whether the server gives a mail that is not among these.
        """
        if not any((place, uid) in self._failed for uid in uids):
            try:
                return dict(fetch(uids)), ()
            except FAILURES as error:
                for uid in uids:
                    self._at(place, uid)
                if not is_refusal(error):
                    raise
        return _OneByOne(self, place, fetch, gives_another).fetch(uids)

    def forget(self, folder: str, uid: int) -> None:
        """Forgets that a mail could not be fetched: it is tried again."""
        for place, other in list(self._failed):
            if (place.folder, other) == (folder, uid):
                del self._failed[place, other]

    def count(self, place: Place, uid: int) -> int:
        """Returns how often a mail failed by itself."""
        return self._at(place, uid).count

    def note(self, place: Place, uid: int) -> None:
        """Notes that a mail failed by itself."""
        self._at(place, uid).count += 1

    def settle(self, place: Place, uid: int) -> None:
        """Notes that a mail was fetched, or left."""
        del self._failed[place, uid]

    def is_old(self, place: Place, uid: int) -> bool:
        """Returns whether a mail has failed for so long that it does not matter whether others do."""
        return time.monotonic() >= self._at(place, uid).since + PATIENCE_SECONDS

    def _at(self, place: Place, uid: int) -> _Failed:
        return self._failed.setdefault((place, uid), _Failed(time.monotonic()))


class _OneByOne(Generic[Content]):
    """Fetches mails each by itself, once, after an error with some of them."""

    def __init__(
        self, failures: FetchFailures, place: Place, fetch: Fetch[Content], gives_another: Callable[[], bool]
    ) -> None:
        self._failures = failures
        self._place = place
        self._fetch = fetch
        self._asks = gives_another
        self._gives_another: bool | None = None
        self._found: dict[int, Content] = {}

    def fetch(self, uids: Sequence[int]) -> tuple[dict[int, Content], Sequence[int]]:
        """Does as FetchFailures.fetch."""
        left, error = list(uids), None
        for _ in range(TRIES):
            left, error = self._round(left)
            if not left:
                return self._found, ()
        if error is not None and not all(self._is_left(uid) for uid in left):
            raise error
        for uid in left:
            self._failures.settle(self._place, uid)
        return self._found, left

    def _round(self, uids: Sequence[int]) -> tuple[list[int], Exception | None]:
        """Tries each mail, those that failed least first. Returns those that failed, and the last error."""
        left, error, in_a_row = list[int](), None, 0
        for uid in sorted(uids, key=lambda uid: self._failures.count(self._place, uid)):
            if self._is_left(uid):
                left.append(uid)
                continue
            try:
                self._found.update(self._fetch([uid]))
            except FAILURES as failure:
                self._failures.note(self._place, uid)
                in_a_row += 1
                if not is_refusal(failure) or (in_a_row >= _IN_A_ROW_MOST and not self._found):
                    raise
                left.append(uid)
                error = failure
            else:
                in_a_row = 0
                self._failures.settle(self._place, uid)
        return left, error

    def _is_left(self, uid: int) -> bool:
        """Returns whether a mail is to be left for later: it failed often enough, and the server gives others."""
        if self._failures.count(self._place, uid) < TRIES:
            return False
        return bool(self._found) or self._failures.is_old(self._place, uid) or self._is_given_another()

    def _is_given_another(self) -> bool:
        if self._gives_another is None:
            try:
                self._gives_another = self._asks()
            except FAILURES as error:
                if not is_refusal(error):
                    raise
                self._gives_another = False
        return self._gives_another


def is_refusal(error: Exception) -> bool:
    """Returns whether the connection can be used after the error."""
    return isinstance(error, imaplib.IMAP4.error) and not isinstance(error, imaplib.IMAP4.abort | ProtocolError)
