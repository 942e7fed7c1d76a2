"""Records into envelopes: all of them, in order, within the contract's bounds."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import usage
from libs.pricing import Price, version_of
from services.router.shipper import pack
from services.router.spool import Row
from tests.fixtures.samples import NOW_MS, event, price, request_id
from tests.fixtures.strategies import quick, thorough

SOLD = [price(model=name) for name in ("a", "b", "c")]


def row(seq: int, event_bytes: int = 600, sold: Price = SOLD[0]) -> Row:
    padding = b'{"x":"%b"}' % (b"x" * max(0, event_bytes - 8))
    return Row(seq, padding, msgspec.json.encode(sold))


def packed(rows: list[Row]) -> list[tuple[list[int], usage.Envelope, int]]:
    return [(seqs, usage.decode_envelope(body), len(body)) for seqs, body in pack(rows, "r-7", NOW_MS)]


def test_nothing_makes_no_message() -> None:
    assert packed([]) == []


def test_a_message_says_who_sent_it_and_names_each_price_once() -> None:
    events = [event(request_id=request_id(noise=n)) for n in range(3)]
    rows = [Row(n, usage.encode_event(e), msgspec.json.encode(price())) for n, e in enumerate(events)]
    ((seqs, envelope, _),) = packed(rows)
    assert seqs == [0, 1, 2]
    assert (envelope.schema, envelope.producer, envelope.sent_at) == ("usage.v1", "r-7", NOW_MS)
    assert envelope.prices == {version_of(price()): price()}
    assert [usage.decode_event(raw) for raw in envelope.events] == events


def test_a_hundred_events_fit_and_no_more() -> None:
    assert [len(seqs) for seqs, _, _ in packed([row(n, 100) for n in range(250)])] == [100, 100, 50]


def test_one_event_above_the_bound_goes_alone() -> None:
    rows = [row(1), row(2, usage.MAX_BYTES + 5), row(3), row(4)]
    assert [seqs for seqs, _, _ in packed(rows)] == [[1], [2], [3, 4]]


@given(
    st.lists(st.tuples(st.integers(10, 140_000) | st.integers(2000, 3000), st.sampled_from(SOLD)), max_size=12),
    st.integers(0, 120),
)
@thorough
def test_every_record_is_sent_once_and_in_order_within_the_bounds(sizes: list[tuple[int, Price]], more: int) -> None:
    rows = [row(n, size, sold) for n, (size, sold) in enumerate(sizes)]
    rows += [row(len(rows) + n, 2600) for n in range(more)]
    found = packed(rows)
    assert [seq for seqs, _, _ in found for seq in seqs] == [r.seq for r in rows]
    for seqs, envelope, size in found:
        carried = [r for r in rows if r.seq in seqs]
        assert [bytes(raw) for raw in envelope.events] == [r.event for r in carried]
        assert set(envelope.prices) == {version_of(msgspec.json.decode(r.price, type=Price)) for r in carried}
        assert 1 <= len(seqs) <= usage.MAX_EVENTS
        assert size <= usage.MAX_BYTES or len(seqs) == 1


@given(st.integers(1, 100))
@quick
def test_many_small_events_come_near_the_bound_before_they_are_split(count: int) -> None:
    """Or every message would carry a single event, and a backlog would take hours."""
    assert len(packed([row(n, 1000) for n in range(count)])) == 1


@pytest.mark.parametrize("size", [131_072 - d for d in (0, 100, 200, 300, 400, 1000)])
def test_the_envelope_itself_counts(size: int) -> None:
    assert all(length <= usage.MAX_BYTES for _, _, length in packed([row(1, size), row(2, size, SOLD[1])]))
