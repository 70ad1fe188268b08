"""Whose is it? Which file is done already, which key a recording gets, whose object and whose upload is there.

Everything that may be taken up, replaced or thrown away is asked for here first, because a wrong answer overwrites a
stranger's object. It asks the world by its ports and changes nothing but its own books and markers.

``claim`` takes a file: ``gathering`` asks for ``facts``, ``decision`` decides. ``names``, ``elsewhere``,
``descriptions`` and ``reading`` find out what it needs to know. ``keys`` and ``uploads`` are the books of what is in
use; ``replacing`` answers streams that are under way, ``sweep`` tidies the bucket, ``left_out`` is about old archives.

One daemon alone has a folder and its records: ``keys`` and ``uploads`` know this process, ``dispatcher.recovery`` takes
up every record, and ``redis_client.writer`` writes without a condition. Whoever lets several daemons share a folder
begins at ``Claims.claim`` and has to change all of these, ``RedisCheckpoints.keep_records`` and
``stream_processor.cleanup``.
"""

from .claim import Claims
from .keys import Keys
from .left_out import LeftOut
from .reading import ToBeRead
from .sweep import Sweep

__all__ = [
    "Claims",
    "Keys",
    "LeftOut",
    "Sweep",
    "ToBeRead",
]
