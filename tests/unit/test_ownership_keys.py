"""Two living streams never have one key."""

from __future__ import annotations

import pytest

from src.domain import Identity
from src.ownership import Keys

# The larger inode has the smaller birth time: whoever compares by order notices neither the one nor the other.
FILE, OTHERS = Identity(5, 5), [Identity(4, 9), Identity(6, 1), Identity(5, 4), Identity(5, 6)]


@pytest.mark.parametrize("other", OTHERS)
class TestAKeyThatAFileHas:
    def test_is_not_taken_by_another(self, other: Identity) -> None:
        keys = Keys()
        assert keys.take("a", FILE) and keys.take("a", FILE)
        assert not keys.take("a", other)
        assert keys.take("b", other)

    def test_is_anothers_for_all_but_that_file(self, other: Identity) -> None:
        keys = Keys()
        keys.take("a", FILE)
        assert keys.is_anothers("a", other) and not keys.is_anothers("a", FILE)
        assert not keys.is_anothers("b", other)

    def test_stays_its_own_when_another_passes_it_by(self, other: Identity) -> None:
        keys = Keys()
        keys.take("a", FILE)
        keys.leave("a", other)
        assert keys.is_taken("a") and keys.is_anothers("a", other)
        keys.leave("a", FILE)
        assert not keys.is_taken("a") and keys.take("a", other)

    def test_is_free_when_the_file_has_ended_and_no_other_key_is(self, other: Identity) -> None:
        keys = Keys()
        keys.take("a", FILE)
        keys.take("b", other)
        keys.take("c", FILE)
        keys.give_back(FILE)
        assert [key for key in "abc" if keys.is_taken(key)] == ["b"]
        assert keys.is_anothers("b", FILE)


def test_a_key_that_nobody_has_is_left_without_an_error() -> None:
    keys = Keys()
    keys.leave("a", FILE)
    keys.give_back(FILE)
    assert not keys.is_taken("a")
