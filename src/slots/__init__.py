"""Turns at the store: at most so many recordings do S3 work at once, and none of them keeps the others waiting.

* Small requests go before parts. One that takes long goes on beside the others, and one that has waited long is let in
  beside them: both hold no memory. So many at most are beside; when others wait for that, the one that has been silent
  for longest is ended.
* A recording whose last request hung, was refused or was far slower than those of others is on probation: such
  recordings together use at most one turn. Where there is only one, they get it when nobody else wants it, or once in
  a while.
* Who has a turn for parts, and has stored none for far longer than others need, gives way to those who wait.
* Nobody knows before whether a recording will hang. So its first part goes alone, and once it is silent those who wait
  are lent the rest of its turn's memory, one part at a time each. When all who share a turn are silent and there is no
  memory left, the one that has been silent for longest is ended.

Silent is who has said nothing (no byte accepted, no answer) for longer than is usual, and for longer than he was heard
before. On a store that is slow as a whole nobody is.

A room of its own because it knows no recording and no store: it is asked for a turn, and told how a request ended. What
it remembers of a recording lies in ``domain.errand``, which goes along with the tasks that are done for it.
``fair_slots`` gives the turns away, ``waiting`` says who is next, ``fair_turn`` is one turn from the first wish to the
end, ``usual_pace`` knows how fast the store is to others, ``one_at_a_time`` is the place of those on probation.
"""

from .fair_slots import FairSlots

__all__ = ["FairSlots"]
