"""Transport streams from packets whose clock is counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.containers import transport
from src.containers.transport import PacketClock

WRAPS = (1 << 33) * 300


def packet(seconds: float | None = None, *, pid: int = 256, stamped: bool = False, length: int = 183) -> bytes:
    """A packet, with a clock reference unless ``seconds`` is None; ``stamped``: of M2TS."""
    if seconds is None:
        data = bytes([0x47, pid >> 8, pid & 255, 0x10]) + bytes(184)
    else:
        ticks = round(seconds * 27_000_000) % WRAPS
        clock = (ticks // 300 << 15 | 0x7E00 | ticks % 300).to_bytes(6, "big")
        data = bytes([0x47, pid >> 8, pid & 255, 0x20, length, 0x10]) + clock + bytes(176)
    return (b"time" if stamped else b"") + data


def stream(*seconds: float, between: int = 5, stamped: bool = False) -> bytes:
    return b"".join(packet(one, stamped=stamped) + packet(stamped=stamped) * between for one in seconds)


#: Ten seconds, a reference each tenth of a second.
TIMES = tuple(n / 10 for n in range(101))
TS, M2TS = stream(*TIMES), stream(*TIMES, stamped=True)


def reading(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, count: data[offset : offset + count]


def clock_of(data: bytes, *sizes: int) -> PacketClock:
    clock = PacketClock()
    for size in sizes or (len(data),):
        clock.walk(reading(data[:size]), size)
    return clock


def total(data: bytes) -> float | None:
    return clock_of(data).seconds(0, len(data))


def test_it_is_recognised_by_its_sync_bytes_and_by_nothing_else() -> None:
    assert transport.begins(TS[:1024])
    assert transport.begins(M2TS[:1024])
    assert not transport.begins(b"export const Good: Goods = {};\n" * 40), "TypeScript"
    assert not transport.begins(b"G" + TS[1:188])
    assert not transport.begins(TS[:1024].replace(b"\x47", b"\x46", 1))
    assert not transport.begins(TS[1:1024])
    assert not transport.begins(b"")
    assert transport.begins(TS[: 3 * 188])
    assert not transport.begins(TS[: 2 * 188])


@pytest.mark.parametrize("data", [TS, M2TS], ids=["188", "192"])
@pytest.mark.parametrize("step", [1000, 188 * 6, 7777])
def test_seconds_are_counted_however_the_file_grows(data: bytes, step: int) -> None:
    clock = clock_of(data, *range(1000, len(data), step), len(data))
    assert clock.seconds(0, len(data)) == pytest.approx(10.0)
    assert clock.seconds(len(data) // 2, len(data)) == pytest.approx(5.0, abs=0.1)
    assert clock.seconds(len(data), len(data)) == 0.0


def test_a_clock_that_starts_again_goes_on() -> None:
    end = WRAPS / 27_000_000
    assert total(stream(*(end - 5 + one for one in TIMES))) == pytest.approx(10.0)


@pytest.mark.parametrize("later", [-3.0, 60.0])
def test_a_jump_adds_nothing_and_makes_the_duration_unknown(later: float) -> None:
    data = TS + stream(*(10 + later + one for one in TIMES))
    assert total(data) == pytest.approx(20.0)
    film = transport.read_film(reading(data), len(data))
    assert (film.seconds, film.remarks) == (None, ("a transport stream tells no duration, and its clock jumps",))


def test_the_duration_of_a_finished_one_is_only_approximate() -> None:
    film = transport.read_film(reading(TS), len(TS))
    assert film.seconds == pytest.approx(10.0)
    assert film.is_approximate


def test_of_several_programs_the_longest_counts() -> None:
    other = b"".join(packet(100 + one / 2, pid=512) for one in TIMES)
    assert total(TS + other) == pytest.approx(10.0)


def test_a_thousand_programs_need_little_memory() -> None:
    data = b"".join(packet(one, pid=pid) for pid in range(1000) for one in (1.0, 1.1))
    clock = clock_of(data)
    assert len(clock._last) == 64
    assert clock.seconds(0, len(data)) == pytest.approx(0.1)


def test_without_a_clock_the_seconds_are_unknown() -> None:
    for data in (packet() * 50, packet(1.0) * 1 + packet() * 50, packet(1.0, length=6) + packet(2.0, length=6) * 9):
        assert total(data) is None
        assert "no clock" in transport.read_film(reading(data), len(data)).remarks[0]


def test_packets_that_are_damaged_make_the_seconds_unknown() -> None:
    data = TS[:1000] + b"x" + TS[1000:]
    assert clock_of(data).is_over
    assert total(data) is None
    assert "damaged" in transport.read_film(reading(data), len(data)).remarks[0]


def test_what_is_cut_in_a_packet_is_read_up_to_it() -> None:
    assert total(TS[:-100]) == pytest.approx(10.0)


def test_a_long_file_is_read_in_several_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.containers.transport._PIECE", 188 * 20)
    monkeypatch.setattr("src.containers.transport._PIECES_A_WALK", 3)
    clock = clock_of(TS)
    assert clock.is_behind
    assert clock.seconds(0, len(TS)) is None
    film = transport.read_film(reading(TS), len(TS))
    assert film.seconds == pytest.approx(10.0)


def test_a_very_long_file_is_not_read_for_its_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.containers.transport._MOST_BYTES", len(TS) - 1)
    film = transport.read_film(lambda *_: pytest.fail("it was read"), len(TS))
    assert film.seconds is None
    assert "too long" in film.remarks[0]


@given(st.binary(max_size=2000))
def test_garbage_costs_nothing_but_its_figures(garbage: bytes) -> None:
    for data in (garbage, TS + garbage, packet(0.0) * 3 + garbage):
        clock_of(data, len(data) // 2, len(data))
        found = transport.read_film(reading(data), len(data)).seconds
        assert found is None or found > 0
