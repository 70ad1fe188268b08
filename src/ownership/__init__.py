"""Determines ownership: whether a file is already done, which key a recording gets, and who owns an object or upload.

Everything that is claimed, replaced or aborted is checked here first, because a wrong answer would overwrite another
program's object. The package uses the outside world through its ports, and changes only its own state and markers.

``claim`` claims a file: ``gathering`` collects ``facts``, and ``decision`` decides. ``names``, ``elsewhere``,
``descriptions`` and ``reading`` determine individual facts. ``keys`` and ``uploads`` record what is in use;
``replacing`` answers questions of active streams, ``sweep`` cleans up the bucket, ``left_out`` handles old archives;
``pruning`` forgets recordings whose files are gone.

Exactly one daemon uses a folder and its checkpoints: ``keys`` and ``uploads`` know only this process,
``dispatcher.recovery`` resumes every checkpoint, and ``redis_client.writer`` writes unconditionally. To let several
daemons share a folder, start at ``Claims.claim`` and change all of these, and also ``RedisCheckpoints.keep_records``
and ``stream_processor.cleanup``.
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
