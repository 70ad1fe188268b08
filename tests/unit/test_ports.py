"""What the interfaces say when nothing is said: the same as the settings, and nothing that costs or throws away."""

from __future__ import annotations

import inspect
from dataclasses import fields
from datetime import timedelta

from src.config import Settings
from src.domain import Hashes, Naming, ObjectStore, PartSchedule, Rhythm, Slots, World


def test_a_stream_that_is_told_nothing_is_carried_as_the_settings_say() -> None:
    rhythm, settings = Rhythm(), Settings()
    assert (rhythm.timeout, rhythm.finish_early) == (settings.stream_timeout_seconds, settings.finish_early)
    assert rhythm.min_age == settings.watch_file_min_age_seconds_for_idle
    assert rhythm.missing_grace == settings.watch_scan_seconds + 5, "a whole look at the folder, and a little more"
    assert rhythm.parts_in_flight == settings.parts_in_flight
    assert rhythm.memory == 2 * settings.chunk_size_bytes


def test_a_stream_pauses_for_a_second_first_and_for_a_minute_at_most() -> None:
    assert (Rhythm().first_pause, Rhythm().longest_pause) == (1.0, 60.0)


def test_no_name_is_reused() -> None:
    assert not Naming(PartSchedule(10)).replace_reused_names


def test_uploads_of_nobody_stay_for_as_long_as_the_settings_say() -> None:
    (default,) = [field.default for field in fields(World) if field.name == "orphan_retention"]
    assert default == Settings().orphan_retention == timedelta(days=7)


def test_a_pass_over_a_file_computes_no_checksum_that_nobody_asked_for() -> None:
    assert (Hashes().md5, Hashes().sha256) == (False, False)


def test_one_turn_is_for_one_part_and_an_upload_is_not_of_copies() -> None:
    assert inspect.signature(Slots.sending).parameters["at_once"].default == 1
    assert inspect.signature(ObjectStore.create_upload).parameters["of_copies"].default is False
