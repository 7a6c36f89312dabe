"""Tells several threads of something, each of which waits for it by itself."""

import threading


class Broadcast:
    """Each listener has an event of its own, which it clears when it has looked."""

    def __init__(self) -> None:
        self._events: list[threading.Event] = []

    def listen(self) -> threading.Event:
        """Returns an event that is set from now on, whenever there is news."""
        event = threading.Event()
        self._events.append(event)
        return event

    def set(self) -> None:
        """Tells all that there is news."""
        for event in self._events:
            event.set()
