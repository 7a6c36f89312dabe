"""Callers that come at the same time share one transaction: what waits while one is under way goes into the next.

Whoever comes when nothing is under way starts at once, so an idle server adds no wait. Each caller gets its own answer,
after the commit that holds it. A transaction a caller is bound by the disk; this is what lifts that.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Ticket(Generic[Item, Answer]):
    """One caller's item. Its event is set when there is an outcome, or when the caller is to lead the next group."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = threading.Event()
        self.answers: list[Answer] = []
        self.error: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        return bool(self.answers) or self.error is not None


class Grouping(Generic[Item, Answer]):
    """`perform` takes the items of a group, in the order in which they came, and returns an answer for each; it does
    all of them or, when it raises, none.

    retry_alone: errors that one item can bring on all. The items of such a group are then performed one by one, so that
    the bad one fails alone.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        most: int,
        retry_alone: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._perform = perform
        self._most = most
        self._retry_alone = retry_alone
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Item, Answer]] = []
        self._is_led = False

    @property
    def waiting(self) -> int:
        """How many callers wait for the next group."""
        return len(self._waiting)

    def submit(self, item: Item) -> Answer:
        """The answer for `item`, once it is kept; or the error of its group. Blocks; for any number of threads."""
        ticket = _Ticket[Item, Answer](item)
        with self._lock:
            self._waiting.append(ticket)
            leads = not self._is_led
            self._is_led = True
        if not leads:
            ticket.woken.wait()
        if not ticket.is_settled:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        return ticket.answers[0]

    def _lead(self) -> None:
        """Perform what waits, which holds the leader's own item, and hand the lead to the first of those who came
        meanwhile: nobody works for others for longer than for itself."""
        with self._lock:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            self._settle(group)
        finally:
            with self._lock:
                self._is_led = bool(self._waiting)
                heir = self._waiting[0] if self._waiting else None
            for ticket in group:
                ticket.woken.set()
            if heir is not None:
                heir.woken.set()

    def _settle(self, group: Sequence[_Ticket[Item, Answer]]) -> None:
        try:
            for ticket, answer in zip(group, self._perform([each.item for each in group]), strict=True):
                ticket.answers.append(answer)
        except BaseException as error:  # noqa: BLE001  nobody may wait for ever, whatever it was
            if len(group) > 1 and isinstance(error, Exception) and self._retry_alone(error):
                for ticket in group:
                    self._settle([ticket])
                return
            for ticket in group:
                ticket.error = error
