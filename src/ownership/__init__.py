"""Whose is it? Which file is done already, which key a recording gets, whose object and whose upload is there.

Everything that may be taken up, replaced or thrown away is asked for here first, because a wrong answer overwrites a
stranger's object. It asks the world by its ports and changes nothing but its own books and markers.
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
