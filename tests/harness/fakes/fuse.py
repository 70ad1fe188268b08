"""What a test may put around every effect of a fake: a fuse that kills, or takes the answer away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from src.exceptions import S3Unavailable

P = ParamSpec("P")
T = TypeVar("T")

#: Called around every effect with its name and "before" or "after"; what it raises is what happens then.
Fuse = Callable[[str, str], None]
_PAUSE_SECONDS = 0.5


class LostAnswer(Exception):
    """The effect happened, and whoever asked for it does not hear so. Only a fuse raises it, and only "after"."""


def asked_again(effect: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """What the edges do when no answer comes: the same call once more, a little later."""

    @wraps(effect)
    async def until_answered(*args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return await effect(*args, **kwargs)
            except LostAnswer:
                await asyncio.sleep(_PAUSE_SECONDS)

    return until_answered


def unanswered(effect: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """What the edge of the store says when no answer comes: whoever asked may ask again."""

    @wraps(effect)
    async def or_unavailable(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await effect(*args, **kwargs)
        except LostAnswer:
            raise S3Unavailable(f"{effect.__name__}: no answer", operation=effect.__name__) from None

    return or_unavailable
