"""Who waits for a turn, and who is next."""

from __future__ import annotations

from collections import deque

from .fair_turn import FairTurn

#: After so many small requests in a row a turn is for parts.
_ASKS_IN_A_ROW = 16

Line = deque[FairTurn]


class Waiting:
    """Four lines. Whoever has waited longest in one is its first, and whoever has begun meanwhile is in none.

    ``asking``: small requests. A new recording needs three or four before its first part: if each waited behind the
    parts of fifty others, its first byte would be sent minutes later. ``sending``: who wants to send parts, and nobody
    knows whether the store takes them. ``known``: who wants to send, and whose last part it took. ``last``: those on
    probation, where there is but one turn.
    """

    def __init__(self) -> None:
        self.asking: Line = deque()
        self.sending: Line = deque()
        self.known: Line = deque()
        self.last: Line = deque()
        self._asked_in_a_row = 0
        self._known_are_next = False

    @property
    def to_send(self) -> bool:
        """Whether somebody waits to send parts. Those on probation, where there is one turn, push nobody out of it."""
        return bool(self.sending or self.known)

    def next(self) -> FairTurn | None:
        """Takes the next one out of its line.

        First small requests, at most so many in a row: thousands of lookups do not keep live recordings waiting. Then
        parts. Then those on probation, where there is but one turn: when nobody else wants it.
        """
        asking, sending = _first_of(self.asking), self.next_sender()
        if asking is not None and (sending is None or self._asked_in_a_row < _ASKS_IN_A_ROW):
            self._asked_in_a_row += 1
            return self.asking.popleft()
        if sending is not None:
            self._asked_in_a_row = 0
            return self.take(sending)
        return self.last.popleft() if _first_of(self.last) is not None else None

    def next_sender(self) -> FairTurn | None:
        """Those whose parts are taken have every second turn: they need not wait for all of whom nobody knows that."""
        new, known = _first_of(self.sending), _first_of(self.known)
        return known if new is None or (self._known_are_next and known is not None) else new

    def take(self, sender: FairTurn) -> FairTurn:
        """Out of its line, of which it is the first."""
        self._known_are_next = sender in self.sending
        return (self.sending if self._known_are_next else self.known).popleft()

    def leave(self, turn: FairTurn) -> None:
        """Whoever is cancelled waits in no line any more."""
        for line in (self.asking, self.sending, self.known, self.last):
            if turn in line:
                line.remove(turn)


def _first_of(line: Line) -> FairTurn | None:
    while line and line[0].told.done():  # cancelled, and not yet out of the line
        line.popleft()
    return line[0] if line else None
