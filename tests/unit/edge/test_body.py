"""A packed body is unpacked within its limit, or refused."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import InvalidRequest, RequestTooLarge
from services.edge.api.body import unpacked
from tests.fixtures.strategies import thorough


@given(st.binary(max_size=200))
@thorough
def test_body_packed_with_gzip_is_what_it_was(data: bytes) -> None:
    assert unpacked(gzip.compress(data), 200) == data


def test_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert unpacked(gzip.compress(b"a" * 100), 100) == b"a" * 100
    with pytest.raises(RequestTooLarge, match="100 bytes"):
        unpacked(gzip.compress(b"a" * 101), 100)


def test_body_that_would_fill_the_memory_is_not_unpacked() -> None:
    bomb = gzip.compress(b"a" * (64 << 20))
    tracemalloc.start()
    with pytest.raises(RequestTooLarge):
        unpacked(bomb, 1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


GOOD = gzip.compress(b'{"model":"m"}', mtime=0)


@pytest.mark.parametrize("packed", [b"", b"{}", GOOD[:-1], GOOD[:-8], GOOD[:12], GOOD + b"x", GOOD + GOOD, GOOD[2:]])
def test_body_that_is_not_one_whole_gzip_file_is_a_400(packed: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        unpacked(packed, 1000)
    assert type(caught.value) is InvalidRequest
    assert caught.value.extra == {"details": {"error_code": "request_body_encoding_invalid"}}


@given(st.binary(max_size=100))
@thorough
def test_any_bytes_at_all_are_a_body_or_a_400(data: bytes) -> None:
    for packed in (data, GOOD[:10] + data):
        try:
            size = len(unpacked(packed, 1000))
        except (InvalidRequest, RequestTooLarge):
            continue
        assert size <= 1000
