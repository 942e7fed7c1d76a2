"""What could not be booked is kept word for word, once, and can be read as billing would read it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from libs.contracts import usage
from libs.contracts.usage import Envelope
from libs.pricing import Override, version_of
from services.billing import parcel
from services.billing.verdict import Judge, honest
from tests.fixtures.samples import DEAR, HOLD_SECRET, NOW_MS, event, hold, price, request_id
from tests.fixtures.strategies import json_values, thorough

KEY = b"a-key-of-the-images-service"
KEYS = {"images": (KEY, b"an-older-key-of-the-service")}
JUDGE = Judge(HOLD_SECRET, KEYS)
SOLD, OTHER = price(), price(Override(DEAR, above_prompt_tokens=1))
PRICES = {version_of(each): each for each in (SOLD, OTHER)}
RAW = usage.encode_event(event(hold=hold(epoch=3)))


def message(producer: str, *raws: bytes, sent_at: int = NOW_MS) -> Envelope:
    return Envelope(usage.SCHEMA, producer, sent_at, PRICES, [msgspec.Raw(raw) for raw in raws])


def test_an_event_is_kept_with_its_price_and_can_be_judged_again() -> None:
    kept = parcel.of_event(RAW, "router-0", PRICES, KEYS, "too early")
    assert (kept.request_id, kept.org, kept.epoch, kept.reason) == (request_id(), 7, 3, "too early")
    found = JUDGE.open(kept.body)
    assert (found.producer, list(found.prices), [bytes(raw) for raw in found.events]) == (
        "router-0",
        [version_of(SOLD)],
        [RAW],
    )
    assert JUDGE.judge(RAW, found, honest(found.prices), NOW_MS).event == usage.decode_event(RAW)


def test_the_same_event_is_the_same_parcel_whenever_and_with_whomever_it_comes() -> None:
    one = usage.encode_envelope(message("router-0", RAW))
    other = usage.encode_envelope(message("router-0", b"17", RAW, sent_at=NOW_MS + 9))
    assert parcel.parcels(one, JUDGE, "a")[0].digest == parcel.parcels(other, JUDGE, "b")[1].digest


def test_a_producer_s_event_is_sealed_again_because_its_seal_was_good() -> None:
    body = usage.encode_envelope(usage.seal_envelope(message("images", RAW, RAW), KEYS["images"][1]))
    kept = parcel.parcels(body, JUDGE, "dead letter")
    assert len(kept) == 2
    assert JUDGE.open(kept[0].body).mac


@pytest.mark.parametrize(
    "body",
    [
        usage.encode_envelope(message("images", RAW)),
        usage.encode_envelope(usage.seal_envelope(message("images", RAW), b"a-key-of-somebody-else")),
        usage.encode_envelope(usage.seal_envelope(message("unknown", RAW), KEY)),
    ],
)
def test_what_has_no_good_seal_is_kept_as_it_came_and_never_sealed_by_us(body: bytes) -> None:
    [kept] = parcel.parcels(body, JUDGE, "dead letter")
    assert kept.body == body
    assert kept.request_id == request_id(), "whose it is can be read all the same"


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff\x00", b"[" * 100_000])
def test_what_is_no_message_is_kept_as_it_came(body: bytes) -> None:
    [kept] = parcel.parcels(body, JUDGE, "dead letter")
    assert (kept.body, kept.request_id, kept.org) == (body, None, None)
    assert kept.reason.startswith("dead letter; malformed envelope")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, (request_id(), 7, 3)),
        ({"cost": "much"}, (request_id(), 7, 3)),
        ({"request_id": "req_1"}, (None, 7, 3)),
        ({"request_id": 5}, (None, 7, 3)),
        ({"org": 1 << 63}, (request_id(), None, 3)),
        ({"org": True}, (request_id(), None, 3)),
        ({"org": -1}, (request_id(), None, 3)),
        ({"hold": {"epoch": 1 << 31}}, (request_id(), 7, None)),
        ({"hold": 5}, (request_id(), 7, None)),
    ],
)
def test_as_much_is_read_of_a_bad_event_as_makes_sense(changes: dict[str, Any], named: tuple[Any, ...]) -> None:
    said = msgspec.json.encode({**msgspec.json.decode(RAW), **changes})
    assert parcel.name(said)[:3] == named


@given(json_values())
@thorough
def test_any_json_can_be_kept(value: Any) -> None:
    raw = msgspec.json.encode(value)
    kept = parcel.of_event(raw, "router-0", PRICES, KEYS, "malformed")
    assert [bytes(each) for each in JUDGE.open(kept.body).events] == [raw]


def test_a_reason_is_what_a_database_can_keep() -> None:
    assert parcel.sentence("a\0b\ud83d" + "c" * 500) == ("a␀b?" + "c" * 500)[: parcel.MOST_OF_A_REASON]
