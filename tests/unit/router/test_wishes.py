"""What callers wish of providers: read, refused, and obeyed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import GatewayError, InvalidRequest, UnsupportedParameter
from services.router import wishes
from services.router.raws import fields_of
from services.router.wishes import NO_WISHES, UNMEASURED, Measured, Wishes, read
from tests.fixtures.samples import offer
from tests.fixtures.strategies import thorough

OFFERS = [offer(id=f"{host}-offer", provider=host) for host in "abc"]
KNOWN = {"a", "b", "c", "elsewhere"}


def body(provider: Any, **fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "provider": provider, "messages": [], **fields})


def left(provider: Any) -> list[str]:
    return [one.provider for one in read(body(provider)).among(OFFERS, KNOWN)]


def ranked(provider: Any, measured: wishes.Measurements = UNMEASURED) -> list[str]:
    wanted = read(body(provider))
    return [one.provider for one in sorted(OFFERS, key=lambda one: wanted.rank(one, measured))]


@pytest.mark.parametrize(
    "nothing",
    [
        b'{"model":"m"}',
        body(None),
        body({}),
        body({"only": None, "ignore": None, "order": None, "sort": None}),
        b'{"messages":[{"content":"the \\"provider\\" of {}"}]}',
        b'{"metadata":{"provider":{"only":3}}}',
    ],
)
def test_whoever_says_nothing_wishes_nothing(nothing: bytes) -> None:
    assert read(nothing) is NO_WISHES


@pytest.mark.parametrize("broken", [b"", b"[]", b'"provider"', b'{"provider":', b'{"provider":{"only":["\xff"]}}'])
def test_what_is_no_request_has_no_wishes(broken: bytes) -> None:
    assert read(broken) is NO_WISHES


def test_all_that_can_be_wished_is_read() -> None:
    said = {"only": ["a", "b", "a"], "ignore": ["c"], "order": ["b"], "sort": "latency"}
    assert read(body(said)) == Wishes(("a", "b"), ("c",), ("b",), "latency")


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ("a", "provider"),
        (["a"], "provider"),
        (0, "provider"),
        ({"only": "a"}, "provider.only"),
        ({"ignore": [1]}, "provider.ignore"),
        ({"order": {"a": 1}}, "provider.order"),
        ({"order": [["a"]]}, "provider.order"),
        ({"sort": "fastest"}, "provider.sort"),
        ({"sort": ["price"]}, "provider.sort"),
        ({"sort": False}, "provider.sort"),
    ],
)
def test_a_wish_of_a_wrong_shape_is_refused_by_its_name(said: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(body(said))
    assert caught.value.param == param
    assert param in caught.value.message


def test_a_wish_that_nobody_here_knows_is_refused_and_not_forgotten() -> None:
    with pytest.raises(UnsupportedParameter, match="only, ignore, order and sort") as caught:
        read(body({"data_collection": "deny"}))
    assert caught.value.param == "provider.data_collection"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"only": ["c", "a"]}, ["a", "c"]),
        ({"ignore": ["b"]}, ["a", "c"]),
        ({"only": ["a", "b"], "ignore": ["b", "elsewhere"]}, ["a"]),
        ({"order": ["b"]}, ["a", "b", "c"]),
        ({"ignore": []}, ["a", "b", "c"]),
    ],
)
def test_only_whom_the_caller_would_take_is_left(said: Any, expected: list[str]) -> None:
    assert left(said) == expected


@pytest.mark.parametrize("name", ["only", "ignore", "order"])
def test_a_provider_that_nobody_knows_is_named(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"provider.{name} names 'nobody'.* served by a, b, c") as caught:
        left({name: ["a", "nobody"]})
    assert caught.value.param == f"provider.{name}"


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"only": ["elsewhere"]}, "provider.only"),
        ({"only": []}, "provider.only"),
        ({"only": ["a"], "ignore": ["a"]}, "provider.only"),
        ({"ignore": ["a", "b", "c"]}, "provider.ignore"),
    ],
)
def test_where_none_is_left_the_providers_of_the_model_are_told(said: Any, param: str) -> None:
    with pytest.raises(InvalidRequest, match="served by a, b, c") as caught:
        left(said)
    assert caught.value.param == param


def test_a_provider_of_several_offers_is_told_once() -> None:
    with pytest.raises(InvalidRequest, match=r"served by a, b\."):
        read(body({"only": []})).among([*OFFERS[:2], offer(id="again", provider="a")], KNOWN)


def test_order_puts_its_own_first_and_leaves_the_others_as_they_are() -> None:
    assert ranked({"order": ["c", "b"]}) == ["c", "b", "a"]
    assert ranked({"order": ["elsewhere", "b"]}) == ["b", "a", "c"]


def test_the_fastest_are_first_and_whoever_was_not_measured_is_last() -> None:
    seen = {"b-offer": Measured(900.0, 80.0), "c-offer": Measured(300.0, 20.0)}
    assert ranked({"sort": "latency"}, seen) == ["c", "b", "a"]
    assert ranked({"sort": "throughput"}, seen) == ["b", "c", "a"]
    assert ranked({"sort": "price"}, seen) == ["a", "b", "c"]
    assert ranked({"sort": "latency"}) == ["a", "b", "c"]


def test_order_comes_before_sort() -> None:
    seen = {"b-offer": Measured(900.0, 80.0), "c-offer": Measured(300.0, 20.0)}
    assert ranked({"order": ["a"], "sort": "latency"}, seen) == ["a", "c", "b"]


def test_the_wishes_do_not_go_upstream() -> None:
    fields = fields_of(body({"only": ["a"]}))
    wishes.without(fields)
    wishes.without(fields)
    assert list(fields) == ["model", "messages"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["only", "ignore", "order", "sort", "else"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def outcome(sent: bytes) -> GatewayError | None:
    """What is said against it."""
    try:
        read(sent).among(OFFERS, KNOWN)
    except GatewayError as error:
        return error
    return None


@thorough
@given(JSON)
def test_any_value_is_a_wish_or_refused_by_name(said: Any) -> None:
    error = outcome(body(said))
    assert error is None or (error.status == 400 and (error.param or "").startswith("provider"))


@thorough
@given(st.binary(max_size=60))
def test_any_bytes_are_a_wish_or_refused(rest: bytes) -> None:
    error = outcome(b'{"provider":' + rest)
    assert error is None or error.status == 400
