"""The header between edge and router: only what the edge sealed comes out of it."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import dispatch
from libs.contracts.dispatch import BadSeal, seal, sign_hold, unseal
from libs.pricing import Override
from tests.fixtures.samples import DEAR, SECRET, hold, order, price, request_id
from tests.fixtures.strategies import prices, quick, thorough

GOLDEN = (
    "IBDWHNzDSKyMMSnjaBmCTEyhpn0As-FWozoY7c7iGth7InJlcXVlc3RfaWQiOiIwMTllNzA0NC04ODAwLTcwMDAtODAwMC0wMDAw"
    "MDAwMDAwMDEiLCJvcmciOjcsImtleSI6NzAsInByb3RvY29sIjoib3BlbmFpX2NoYXQiLCJtb2RlbCI6ImRlZXBzZWVrLWNoYXQi"
    "LCJzdHJlYW0iOnRydWUsInVzYWdlX3dhbnRlZCI6ZmFsc2UsImNob2ljZXMiOjEsIm91dHB1dF9jYXAiOjEwMDAsImNhcF9naXZl"
    "biI6dHJ1ZSwiaW5wdXRfYm91bmQiOjUwMDAsInByaWNlX2lkIjoicHJfY2UyOTdmNmIzYWI4Y2QxMjUyMjk4MDIzIiwicHJpY2Ui"
    "OnsibW9kZWwiOiJkZWVwc2Vlay1jaGF0IiwicmF0ZXMiOnsiaW5wdXQiOjI3MDAwMDAwMCwib3V0cHV0IjoxMTAwMDAwMDAwLCJj"
    "YWNoZV9yZWFkIjo3MDAwMDAwMCwiY2FjaGVfd3JpdGUiOjI3MDAwMDAwMCwiY2FjaGVfd3JpdGVfMWgiOjU0MDAwMDAwMH19LCJo"
    "b2xkIjp7ImNhc2giOjEwMDAwMDAwLCJwbGFuIjowLCJlcG9jaCI6MSwic2hhcmQiOiJyMCJ9LCJob2xkX3NpZyI6IjAwMDAwMDAw"
    "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAiLCJhY2NlcHRlZF9hdCI6MTc4"
    "MDAwMDAwMDAwMCwiZGlzcGF0Y2hfYnkiOjE3ODAwMDAwMTAwMDB9"
)


def test_what_is_sealed_is_unsealed() -> None:
    for sent in (order(), order(price=price(Override(DEAR, utc_start=0, utc_end=60)), protocol="anthropic_messages")):
        assert unseal(seal(sent, SECRET), SECRET) == sent


@given(prices())
@quick
def test_every_price_fits_through(sold: object) -> None:
    sent = msgspec.structs.replace(order(), price=sold)
    assert unseal(seal(sent, SECRET), SECRET) == sent


def test_a_header_of_the_first_release_is_still_understood() -> None:
    """An edge of one release calls routers of the next while they are replaced one by one."""
    assert unseal(GOLDEN, SECRET) == order()


def test_another_secret_does_not_fit() -> None:
    with pytest.raises(BadSeal, match="does not fit"):
        unseal(seal(order(), SECRET), SECRET + b"x")


@given(st.data())
@thorough
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(seal(order(), SECRET)))
    place = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[place // 8] ^= 1 << place % 8
    with pytest.raises(BadSeal):
        unseal(base64.urlsafe_b64encode(raw).decode(), SECRET)


@given(st.one_of(st.text(max_size=80), st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
@thorough
def test_nothing_but_a_bad_seal_comes_of_strange_headers(header: str) -> None:
    with pytest.raises(BadSeal):
        unseal(header, SECRET)


@pytest.mark.parametrize("header", ["", "=", "a", "é", "\ud800", "A" * 43, "A" * 44, "A" * 9001])
def test_a_header_that_is_none_is_a_bad_seal(header: str) -> None:
    with pytest.raises(BadSeal):
        unseal(header, SECRET)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff", b'{"org":' + b"[" * 100_000])
def test_a_right_seal_on_something_else_is_a_bad_seal(payload: bytes) -> None:
    sealed = base64.urlsafe_b64encode(dispatch._mac(payload, SECRET) + payload).decode()
    with pytest.raises(BadSeal):
        unseal(sealed, SECRET)


def test_the_header_fits_into_one_line_of_http() -> None:
    """aiohttp refuses lines of more than 8190 bytes; a price may have many tiers and windows."""
    overrides = tuple(Override(DEAR, above_prompt_tokens=n, utc_start=n, utc_end=n + 1) for n in range(20))
    long = order(model="m" * 100, price=price(*overrides, model="m" * 100))
    assert len(dispatch.HEADER) + 2 + len(seal(long, SECRET)) < 8190


def test_a_hold_s_signature_is_of_every_part_of_it() -> None:
    def sign(**changes: object) -> str:
        parts = {"request_id": request_id(), "org": 7, "key": 70, "price_id": "pr_1", "hold": hold(), **changes}
        return sign_hold(**parts, secret=SECRET)  # type: ignore[arg-type] # the parts are named above

    others = [
        sign(request_id=request_id(noise=2)),
        sign(org=8),
        sign(key=71),
        sign(price_id="pr_2"),
        *(
            sign(hold=hold(**{name: value}))
            for name, value in (("cash", 1), ("plan", 1), ("epoch", 2), ("shard", "r1"))
        ),
        sign(org=77, key=0),
    ]
    assert len({sign(), *others}) == len(others) + 1
    assert sign() == "da6ec9a27e957262292467a641d07489f003fb831b328df8afe5bf1f4943aaa0"


def test_a_hold_is_cash_and_plan_together() -> None:
    assert hold(cash=5, plan=7).amount == 12
