"""Turns at the store: limits the number of recordings that do S3 work at the same time, without one delaying the
others.

* Small requests take precedence over parts. One that takes long continues beside the turns, and one that has waited
  long is admitted beside them: neither holds memory. Their number is limited; if others wait for such a place, the
  request that has been silent for longest is cancelled.
* A recording whose last request hung, was refused or was far slower than those of others is on probation: all such
  recordings together use at most one turn. If there is only one turn, they get it when no other recording needs it, or
  occasionally.
* A recording with a turn for parts that has stored none for far longer than others need yields to those who wait.
* It is unknown in advance whether a recording will hang. So its first part is sent alone. While it is silent, the rest
  of its turn's memory is lent to waiting recordings, one part each. If all that share a turn are silent and there is no
  memory left, the one that has been silent for longest is cancelled.

A recording is silent if nothing happened (no byte accepted, no answer) for longer than is usual, and for longer than
the time in which it made progress. If the whole store is slow, none is silent.

This package knows no recordings and no stores: callers request a turn and report how a request ended. Its state about a
recording is in ``domain.errand``, which accompanies the recording's tasks. ``fair_slots`` assigns the turns,
``waiting`` decides which caller is next, ``fair_turn`` is one turn from the request to its end, ``usual_pace`` measures
the speed of the store for others, and ``one_at_a_time`` is the shared place of recordings on probation.
"""

from .fair_slots import FairSlots

__all__ = ["FairSlots"]
