"""Server-sent events: the same bytes give the same events, however they are cut."""

import json
import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import sse
from libs.sse import Event, EventTooLarge, Reader
from tests.fixtures.strategies import thorough

PIECES = st.lists(
    st.sampled_from(
        [
            b"data",
            b"data: ",
            b"data:",
            b"event: ping",
            b"event:",
            b"id: 1",
            b": hello",
            b":",
            b" ",
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b'{"a":1}',
            b"{",
            b"[DONE]",
            "é€".encode(),
            b"\xff",
            sse.BOM,
            b"\x00",
        ]
    ),
    max_size=14,
).map(b"".join)


def read(chunks: Iterable[bytes]) -> list[Event]:
    reader = Reader()
    return [*(event for chunk in chunks for event in reader.feed(chunk)), *reader.finish()]


def one_by_one(raw: bytes) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))]


def expected(raw: bytes) -> list[Event]:
    """The standard's algorithm over the whole stream at once, and our one addition: a last event without its blank
    line counts when its data is whole."""
    lines = re.split(rb"\r\n|\r|\n", raw.removeprefix(sse.BOM))
    events, name, data = [], "", list[bytes]()
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        if (last or not line) and data and (not last or is_whole(b"\n".join(data))):
            events.append(Event(name, b"\n".join(data)))
        if not line:
            name, data = "", []
    return events


def is_whole(data: bytes) -> bool:
    try:
        json.loads(data.decode())
    except ValueError:
        return data == b"[DONE]"
    return True


@given(PIECES, st.data())
@thorough
def test_any_chunking_gives_the_events_of_the_standard(raw: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=6)))
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert read(chunks) == read(one_by_one(raw)) == read([raw]) == expected(raw)


@given(PIECES, st.binary(max_size=40))
@thorough
def test_no_bytes_at_all_make_it_raise(raw: bytes, noise: bytes) -> None:
    assert all(isinstance(event, Event) for event in read([noise, raw, noise]))


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: {}\n\n", [("", b"{}")]),
        (b"data:{}\r\n\r\n", [("", b"{}")]),
        (b"data: {}\r\r", [("", b"{}")]),
        (b"data: {oops\r\r", [("", b"{oops")]),
        (b"data: {oops\r\n\r", [("", b"{oops")]),
        (b"data:  {}\n\n", [("", b" {}")]),
        (sse.BOM + b"data: 1\n\n", [("", b"1")]),
        (b"data: 1\n" + sse.BOM + b"data: 2\n\n", [("", b"1")]),
        (b"event: ping\ndata: {}\n\ndata: []\n\n", [("ping", b"{}"), ("", b"[]")]),
        (b"event: a\nevent: b\ndata: 1\n\n", [("b", b"1")]),
        (b"data: [1,\ndata: 2]\n\n", [("", b"[1,\n2]")]),
        (b"data\n\ndata\ndata\n\ndata:", [("", b""), ("", b"\n")]),
        (b": ping\n\n: ping\n\n", []),
        (b"event: ping\n\ndata: 1\n\n", [("", b"1")]),
        (b"id: 1\nretry: 5\nother: x\ndata: 1\n\n", [("", b"1")]),
        (b"database: 1\n\n", []),
        (b"data: [DONE]", [("", b"[DONE]")]),
        (b"data: [DONE]\r", [("", b"[DONE]")]),
        (b'data: {"a":1}\n', [("", b'{"a":1}')]),
        (b'data: {"a":', []),
        (b"data: [1,\ndata: 2]", [("", b"[1,\n2]")]),
        (b"", []),
        (sse.BOM[:2], []),
        (b"\xff", []),
    ],
)
def test_the_format_in_examples(raw: bytes, events: list[tuple[str, bytes]]) -> None:
    wanted = [Event(name, data) for name, data in events]
    assert read([raw]) == read(one_by_one(raw)) == wanted


def test_an_event_is_given_out_with_its_blank_line_and_not_later() -> None:
    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        reader = Reader()
        assert [event.data for event in reader.feed(b"data: 1" + end)] == [b"1"]


def test_a_character_cut_in_two_arrives_whole() -> None:
    raw = 'data: {"text":"日本"}\n\n'.encode()
    for cut in range(len(raw)):
        assert read([raw[:cut], raw[cut:]]) == [Event("", '{"text":"日本"}'.encode())]


def test_a_deeply_nested_rest_is_not_whole_and_no_crash() -> None:
    assert read([b"data: " + b"[" * 200_000]) == []


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "raw",
    [
        b"data: " + b"x" * 1000,
        b"data: " + b"x" * 1000 + b"\n\n",
        b"data: xxxx\n" * 100,
        b"data\n" * 250,
        b"data:\r" * 250,
        b": " + b"x" * 1000,
        b"event: " + b"x" * 1000 + b"\n",
    ],
)
def test_an_event_over_the_limit_is_refused_however_it_is_made_up(
    raw: bytes, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 900)
    chunks = [raw[i : i + size] for i in range(0, len(raw), size)]
    with pytest.raises(EventTooLarge):
        read(chunks)


@given(st.integers(80, 120), st.integers(1, 130), st.sampled_from([b"\n\n", b"\r\n", b"\r", b""]))
@thorough
def test_the_limit_is_the_same_for_every_chunking(length: int, size: int, end: bytes) -> None:
    raw = b"data: 1\ndata: " + b"2" * length + end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "MAX_EVENT_BYTES", 110)
        assert outcome([raw[i : i + size] for i in range(0, len(raw), size)]) == outcome([raw])


def outcome(chunks: list[bytes]) -> list[Event] | None:
    try:
        return read(chunks)
    except EventTooLarge:
        return None


def test_comments_without_an_end_do_not_add_up_to_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 900)
    assert read([b"data: [1,\n", *[b": ping\n"] * 1000, b"data: 2]\n\n"]) == [Event("", b"[1,\n2]")]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n"])
def test_a_large_event_in_small_pieces_is_read_in_linear_time(end: bytes) -> None:
    """Looking at everything again for each of these pieces would take many minutes."""
    text = b'"' + b"x" * (8 * 1024 * 1024 - 100) + b'"'
    raw = b"data: " + text + end
    (event,) = read(raw[i : i + 64] for i in range(0, len(raw), 64))
    assert event.data == text


@pytest.mark.timeout(30)
def test_many_lines_in_one_piece_are_read_in_linear_time() -> None:
    assert len(read([b"data: 1\r\r" * 300_000])) == 300_000


@given(st.binary(max_size=30).filter(lambda data: b"\r" not in data), st.sampled_from(["", "message_stop"]))
@thorough
def test_what_is_encoded_is_read_back(data: bytes, name: str) -> None:
    assert read([sse.encode(data, name)]) == [Event(name, data)]


def test_events_look_as_the_protocols_write_them() -> None:
    assert sse.encode(b"{}") == b"data: {}\n\n"
    assert sse.encode(b"{}", "ping") == b"event: ping\ndata: {}\n\n"
    assert sse.encode(b"[1,\n2]") == b"data: [1,\ndata: 2]\n\n"
