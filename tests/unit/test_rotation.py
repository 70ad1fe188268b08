"""The share of cases that a run takes: the same for the same seed, and in the end every case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import rotation

CASES = list(range(50))


@pytest.fixture(autouse=True)
def _no_seed_is_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(rotation.EVERY, raising=False)
    rotation.seed.cache_clear()
    yield
    rotation.seed.cache_clear()


def _share(monkeypatch: pytest.MonkeyPatch, seed: str) -> list[int]:
    rotation.seed.cache_clear()
    monkeypatch.setenv(rotation.SEED, seed)
    return list(rotation.share(CASES, 6, "a name"))


def test_a_seed_takes_the_same_share_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _share(monkeypatch, "abc") == _share(monkeypatch, "abc")
    assert 8 <= len(_share(monkeypatch, "abc")) <= 9


def test_many_seeds_take_every_case(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {case for number in range(100) for case in _share(monkeypatch, str(number))}
    assert taken == set(CASES)


def test_the_whole_set_can_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(rotation.EVERY, "1")
    assert _share(monkeypatch, "abc") == CASES
    assert "all" in rotation.told()


def test_without_a_variable_the_commit_is_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(rotation.SEED, raising=False)
    assert len(rotation.seed()) == 40
    assert rotation.seed() in rotation.told()
