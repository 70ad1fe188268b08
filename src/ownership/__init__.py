"""Determines ownership: whether a file is already done, which key a recording gets, and who owns an object or upload.

Everything that is claimed, replaced or aborted is checked here first, because a wrong answer would overwrite another
program's object. The package uses the outside world through its ports, and changes only its own state and markers.

``claim`` claims a file: ``gathering`` collects ``facts``, and ``decision`` decides. ``names``, ``elsewhere``,
``descriptions`` and ``reading`` determine individual facts. ``keys`` and ``uploads`` record what is in use;
``replacing`` answers questions of active streams, ``sweep`` cleans up the bucket, ``left_out`` handles old archives;
``pruning`` forgets recordings whose files are gone.

Exactly one daemon uses a folder and its checkpoints. The scripts of Redis refuse to change another owner's checkpoint,
but every daemon is the same owner (``redis_client.scripts.OWNER``): to let several daemons share a folder, start there,
with what ``redis_client`` must change. ``ports.Checkpoints`` then needs methods that acquire, renew and release a
recording, ``main`` a task that renews, and ``Claims.claim`` a result for a recording of another daemon, which
``Dispatcher._claim`` understands. These assume that there is only this process: ``keys`` and ``uploads``,
``dispatcher.recovery``, ``stream_processor.cleanup``, ``Ledger.part_stored`` (it only reports a refusal), ``pruning``
(running time would be counted by each daemon), and commands: ``door.names`` gives all daemons of a folder one name.
"""

from .claim import Claims
from .keys import Keys
from .left_out import LeftOut
from .pruning import Pruning
from .reading import ToBeRead
from .sweep import Sweep

__all__ = [
    "Claims",
    "Keys",
    "LeftOut",
    "Pruning",
    "Sweep",
    "ToBeRead",
]
