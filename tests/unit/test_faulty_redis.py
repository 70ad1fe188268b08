"""The fault-injecting Redis proxy reads what passes through it exactly, and its rules mean what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.faulty_redis import Command, Fault, Malformed, Rule, elements, first_command, first_reply

WORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=6)
REPLIES = st.recursive(
    st.sampled_from([b"+OK\r\n", b"-ERR no\r\n", b":-7\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"$0\r\n\r\n"])
    | st.binary(max_size=30).map(lambda body: b"$%d\r\n%s\r\n" % (len(body), body)),
    lambda inner: st.lists(inner, max_size=5).map(lambda some: b"*%d\r\n" % len(some) + b"".join(some)),
    max_leaves=15,
)


def sent(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def exchange(*lines: str) -> tuple[Command, ...]:
    return tuple(Command(tuple(line.encode().split())) for line in lines)


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_commands_in_one_piece_come_out_one_by_one(asked: list[list[bytes]]) -> None:
    buffer = b"".join(sent(*words) for words in asked)
    for words in asked:
        command = first_command(buffer)
        assert command is not None and command.words == tuple(words)
        assert buffer.startswith(command.raw) and command.raw == sent(*words)
        buffer = buffer[len(command.raw) :]
    assert first_command(buffer) is None


@given(WORDS)
def test_a_command_that_is_not_there_whole_is_waited_for(words: list[bytes]) -> None:
    whole = sent(*words)
    assert all(first_command(whole[:end]) is None for end in range(len(whole)))


@given(REPLIES, st.binary(max_size=20))
def test_a_reply_ends_where_it_ends_whatever_follows(reply: bytes, behind: bytes) -> None:
    assert first_reply(reply + behind) == reply
    assert all(first_reply(reply[:end]) is None for end in range(len(reply)))


@given(st.lists(REPLIES, max_size=6))
def test_the_results_of_a_transaction_are_told_apart(inner: list[bytes]) -> None:
    assert elements(b"*%d\r\n" % len(inner) + b"".join(inner)) == inner


def test_what_is_no_resp_is_no_reply() -> None:
    for noise in (b"HTTP/1.1 200 OK\r\n", b"\x16\x03\x01", b"$x\r\n", b"*\r\n"):
        with pytest.raises(Malformed):
            first_reply(noise)
    with pytest.raises(Malformed):
        first_command(b"*1\r\n:5\r\n")


def test_an_inline_command_is_one_too() -> None:
    command = first_command(b"ping now\r\nrest")
    assert command is not None and (command.name, command.raw) == ("PING", b"ping now\r\n")
    assert first_command(b"pin") is None


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (b"HSET k f v", [b"k"]),
        (b"del a b", [b"a", b"b"]),
        (b"EVAL script 2 a b arg", [b"a", b"b"]),
        (b"EVALSHA 0f 0 arg", []),
        (b"PING", []),
        (b"CLIENT SETINFO LIB-NAME x", []),
        (b"EXEC", []),
    ],
)
def test_the_keys_of_a_command_are_known(words: bytes, keys: list[bytes]) -> None:
    assert list(Command(tuple(words.split())).keys) == keys


def test_a_rule_takes_a_command_inside_of_a_transaction() -> None:
    rule = Rule(Fault("drop"), command="HSET", key="*:parts")
    inside = exchange("MULTI", "HSET a:meta f v", "HSET a:parts 1 x", "EXEC")
    assert not rule.takes(exchange("MULTI", "HSET a:meta f v", "EXEC"))
    assert rule.hit(inside) == 2
    assert rule.takes(inside)
    assert rule.injected == 1


def test_a_rule_waits_for_its_turn_and_ends() -> None:
    rule = Rule(Fault("drop"), command="SADD", nth=2, times=2)
    assert [rule.takes(exchange("SADD s x")) for _ in range(5)] == [False, True, True, False, False]
    assert (rule.seen, rule.injected) == (5, 2)


def test_a_rule_can_be_about_one_recording() -> None:
    rule = Rule(Fault("drop"), about=b"one.mp4", times=None)
    assert not rule.takes(exchange("HSET k path two.mp4"))
    assert rule.takes(exchange("MULTI", "DEL k", "HSET k path one.mp4", "EXEC"))
    assert rule.takes(exchange("HSET k path one.mp4"))
