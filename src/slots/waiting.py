"""The callers that wait for a turn, and which of them is next."""

from __future__ import annotations

from collections import deque

from .fair_turn import FairTurn

#: After this many small requests in a row a turn is for parts.
_ASKS_IN_A_ROW = 16

Line = deque[FairTurn]


class Waiting:
    """Four lines, each ordered by waiting time; a caller that has begun is in none.

    ``asking``: small requests. A new recording needs three or four before its first part: if each waited behind the
    parts of fifty others, its first byte would be sent minutes later. ``sending``: callers with parts, if it is unknown
    whether the store accepts them. ``known``: callers with parts whose last part was accepted. ``last``: recordings on
    probation, if there is only one turn.
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
        """Whether a caller waits to send parts. Those on probation, with a single turn, displace no other."""
        return bool(self.sending or self.known)

    def next(self) -> FairTurn | None:
        """Removes and returns the next caller.

        First small requests, limited in a row: thousands of lookups must not delay live recordings. Then parts. Then
        those on probation, with a single turn: when no other needs it.
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
        """Callers whose parts are accepted get every second turn: they need not wait for all whose acceptance is
        unknown."""
        new, known = _first_of(self.sending), _first_of(self.known)
        return known if new is None or (self._known_are_next and known is not None) else new

    def take(self, sender: FairTurn) -> FairTurn:
        """Remove it from its line, of which it is the first."""
        self._known_are_next = sender in self.sending
        return (self.sending if self._known_are_next else self.known).popleft()

    def leave(self, turn: FairTurn) -> None:
        """A cancelled caller waits in no line."""
        for line in (self.asking, self.sending, self.known, self.last):
            if turn in line:
                line.remove(turn)


def _first_of(line: Line) -> FairTurn | None:
    while line and line[0].told.done():  # cancelled, and still in the line
        line.popleft()
    return line[0] if line else None
