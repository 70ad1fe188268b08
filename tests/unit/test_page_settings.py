"""The settings of the status page."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.config import load_settings
from src.exceptions import ConfigurationError


def _problems(**given: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(given)
    return list(caught.value.problems)


@pytest.mark.parametrize("text", ["a.example, B.example", "a.example,B.example", " a.example  B.example "])
def test_names_are_separated_by_commas_or_spaces(text: str) -> None:
    assert load_settings({"STATUS_HOSTS": text}).settings.status_hosts == ("a.example", "B.example")


@pytest.mark.parametrize("text", ["https://a.example", "a.example:8000", "*", "a..b", "-a", ","])
def test_what_is_no_name_is_refused_with_an_example(text: str) -> None:
    (problem,) = _problems(STATUS_HOSTS=text)
    assert "such as recorder.example.com, without scheme, port or path" in problem


def test_a_password_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (problem,) = _problems(STATUS_PASSWORD_FILE=str(tmp_path / "none"))
    assert problem.startswith("STATUS_PASSWORD_FILE is ") and "cannot be read" in problem
    (tmp_path / "empty").write_text("\n")
    (problem,) = _problems(STATUS_PASSWORD_FILE=str(tmp_path / "empty"))
    assert "exactly one line" in problem


def test_a_password_in_place_of_its_file_is_not_repeated() -> None:
    (problem,) = _problems(STATUS_PASSWORD_FILE="hunter2-hunter2")
    assert "hunter2" not in problem and problem.endswith("It takes a path.")
