"""What may be charged: an honest event, and none that anybody could have made up or bent."""

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import dispatch, usage
from libs.contracts.usage import UsageEvent
from libs.pricing import MAX_TOKENS, Override, Price, Rates, Usage, version_of
from services.billing import verdict
from services.billing.verdict import Accepted, Judge, Keys, Refused, honest
from tests.fixtures.samples import DEAR, HOLD_SECRET, NOW_MS, USAGE, event, hold, price, request_id
from tests.fixtures.strategies import json_values, prices, quick, thorough, usages

PRICE = price()
PRICES = {version_of(PRICE): PRICE}
OTHER = price(Override(DEAR, above_prompt_tokens=1))
DAY_MS = 24 * 3600 * 1000


ROUTER = "router-0"
KEY, OTHER_KEY = b"a-key-of-the-images-service", b"a-key-of-somebody-else-"
KEYS = {"images": (KEY,)}


def judged_from(
    producer: str,
    sent: UsageEvent | bytes,
    prices_there: dict[str, Price] | None = None,
    now_ms: int = NOW_MS,
    keys: Keys = KEYS,
) -> Accepted:
    raw = sent if isinstance(sent, bytes) else usage.encode_event(sent)
    there = PRICES if prices_there is None else prices_there
    envelope = usage.Envelope(usage.SCHEMA, producer, NOW_MS, there, [])
    return Judge(HOLD_SECRET, keys).judge(raw, envelope, honest(there), now_ms)


def judged(sent: UsageEvent | bytes, prices_there: dict[str, Price] | None = None, now_ms: int = NOW_MS) -> Accepted:
    return judged_from(ROUTER, sent, prices_there, now_ms)


def reason(sent: UsageEvent | bytes, prices_there: dict[str, Price] | None = None, now_ms: int = NOW_MS) -> str:
    with pytest.raises(Refused) as caught:
        judged(sent, prices_there, now_ms)
    return str(caught.value)


def bent(**changes: Any) -> UsageEvent:
    """An honest event whose fields were changed after it was signed and priced."""
    return msgspec.structs.replace(event(), **changes)


@pytest.mark.parametrize("outcome", ["usage", "estimated"])
def test_an_honest_event_is_accepted(outcome: str) -> None:
    sent = event(outcome=outcome)
    assert judged(sent).event == sent


def test_an_honest_event_that_owes_nothing_is_accepted() -> None:
    assert judged(event(outcome="void", usage=Usage())).event.cost == 0
    assert judged(event(outcome="usage", usage=Usage())).event.cost == 0


@given(prices(), usages())
@quick
def test_every_honest_price_and_usage_is_accepted(sold: Price, used: Usage) -> None:
    sent = event(sold, usage=used)
    assert judged(sent, {version_of(sold): sold}).event == sent


def test_a_cost_above_the_hold_is_accepted_for_the_house_to_absorb() -> None:
    assert judged(event(hold=hold(cash=1, plan=0))).event.cost == 614_000


@pytest.mark.parametrize(
    "changes",
    [
        {"org": 8},
        {"key": 71},
        {"request_id": request_id(noise=9)},
        {"price_id": version_of(OTHER)},
        {"hold": hold(cash=10_000_001)},
        {"hold": hold(plan=1)},
        {"hold": hold(epoch=2)},
        {"hold": hold(shard="r1")},
        {"hold": hold(cash=0, plan=10_000_000)},
        {"hold": hold(shard="r0\x00")},
        {"hold": hold(authorized_at=NOW_MS)},
        {"sig": ""},
        {"sig": "0" * 64},
        {"sig": event().sig.upper()},
        {"sig": event().sig + " "},
        {"sig": "é" * 64},
        {"sig": "日本"},
        {"sig": event(secret=b"another-secret-of-the-tests").sig},
    ],
)
def test_nobody_but_the_edge_can_make_a_hold(changes: dict[str, Any]) -> None:
    assert reason(bent(**changes), {**PRICES, version_of(OTHER): OTHER}) == "bad signature"


@pytest.mark.parametrize(
    "amounts", [{"cash": -1}, {"plan": -1}, {"cash": 1 << 63}, {"plan": 1 << 70}, {"cash": 1 << 62, "plan": 1 << 62}]
)
def test_a_hold_out_of_range_is_refused_even_when_it_is_signed(amounts: dict[str, int]) -> None:
    assert reason(event(hold=hold(**amounts))) == "hold out of range"


@pytest.mark.parametrize("off", [-1, 1, 1000, -614_000, 1 << 63])
def test_another_cost_than_the_usage_comes_to_is_refused(off: int) -> None:
    assert reason(bent(cost=event().cost + off)) == "the cost is not what the usage comes to"


@pytest.mark.parametrize(
    "changes", [{"usage": Usage()}, {"usage": Usage(output=1)}, {"usage": Usage(input=MAX_TOKENS)}]
)
def test_another_usage_than_the_cost_came_from_is_refused(changes: dict[str, Any]) -> None:
    assert reason(bent(**changes)) == "the cost is not what the usage comes to"


def test_a_cost_beyond_the_books_is_refused() -> None:
    sold = price(rates=Rates(10**19, 0, 0, 0, 0))
    sent = event(sold, usage=Usage(input=1_000_000))
    assert sent.cost == 10**19
    assert reason(sent, {version_of(sold): sold}) == "the cost is not what the usage comes to"


def test_a_price_is_the_one_that_its_id_names() -> None:
    said = "the price is missing or is not the one that its id names"
    assert reason(event(), {}) == said
    assert reason(event(), {version_of(OTHER): OTHER}) == said
    cheaper = price(rates=Rates(0, 0, 0, 0, 0))
    assert reason(event(cost=0), {version_of(PRICE): cheaper}) == said


def test_a_price_is_of_the_model_that_was_asked_for() -> None:
    assert reason(bent(model="qwen-max")) == "the price is another model's"


def test_a_void_event_has_no_usage() -> None:
    assert reason(event(outcome="void")) == "a void event with usage"
    assert reason(event(outcome="void", usage=USAGE, cost=0)) == "a void event with usage"


@pytest.mark.parametrize("off", [60_001, -60_001, DAY_MS])
def test_an_id_is_of_the_time_of_its_request(off: int) -> None:
    said = "the id's time is not when the request was accepted"
    assert reason(event(request_id=request_id(NOW_MS + off))) == said
    assert judged(event(request_id=request_id(NOW_MS + 60_000))).event.org == 7


@pytest.mark.parametrize("text", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"])
def test_an_id_of_no_time_is_refused(text: str) -> None:
    assert reason(event(request_id=UUID(text))) == "the id's time is not when the request was accepted"


def test_events_are_taken_for_35_days() -> None:
    assert verdict.OLDEST_MS == 35 * DAY_MS


@pytest.mark.parametrize("age", [verdict.OLDEST_MS + 1, -verdict.FUTURE_TOLERANCE_MS - 1])
def test_what_is_too_old_or_from_the_future_is_refused(age: int) -> None:
    assert reason(event(), now_ms=NOW_MS + age) == "time out of range"


@pytest.mark.parametrize("age", [verdict.OLDEST_MS, -verdict.FUTURE_TOLERANCE_MS, 0])
def test_what_is_just_in_time_is_accepted(age: int) -> None:
    assert judged(event(started_at=NOW_MS, ended_at=NOW_MS), now_ms=NOW_MS + age).event.org == 7


@pytest.mark.parametrize("name", ["started_at", "ended_at", "first_token_at"])
@pytest.mark.parametrize("value", [-1, 0, 10**15, 10**18, 1 << 63, 10**30, -(10**30)])
def test_no_other_time_may_be_out_of_this_world_either(name: str, value: int) -> None:
    """The start chooses the price's window, and the books hold 64 bits."""
    assert reason(bent(**{name: value})) == "time out of range"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"17",
        b"[]",
        b"{}",
        b"{",
        b"\xff",
        b'{"reason":"\xff"}',
        b'{"x":' + b"[" * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_refused_as_malformed(raw: bytes) -> None:
    assert reason(raw).startswith("malformed: ")


@given(json_values())
@thorough
def test_any_json_at_all_is_refused_and_no_crash(value: Any) -> None:
    assert reason(json.dumps(value).encode()).startswith("malformed: ")


@given(st.sampled_from(UsageEvent.__struct_fields__), json_values())
@thorough
def test_any_field_at_all_may_be_anything_without_a_crash(name: str, value: Any) -> None:
    said = {**json.loads(usage.encode_event(event())), name: value}
    try:
        found = judged(json.dumps(said).encode())
    except Refused:
        return
    assert found.event.cost == event().cost


def test_a_second_delivery_has_the_same_digest_however_it_is_written() -> None:
    said = json.loads(usage.encode_event(event()))
    written = [
        usage.encode_event(event()),
        json.dumps(said, indent=3).encode(),
        json.dumps(dict(reversed(said.items()))).encode(),
        json.dumps({**said, "client_gone": False, "attempts": [], "first_token_at": None}).encode(),
        json.dumps({**said, "region": "eu"}).encode(),
    ]
    digests = {judged(raw).digest for raw in written}
    assert [len(digest) for digest in digests] == [32]


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "estimated"},
        {"reason": "cut"},
        {"usage": Usage(input=1)},
        {"provider": "other"},
        {"ended_at": NOW_MS + 901},
        {"client_gone": True},
        {"provider_request_id": "x"},
        {"hold": hold(cash=11_000_000)},
        {"request_id": request_id(noise=2)},
    ],
)
def test_other_content_has_another_digest(changes: dict[str, Any]) -> None:
    assert judged(event(**changes)).digest != judged(event()).digest


def made_for(producer: str, **changes: Any) -> UsageEvent:
    """An honest event whose hold was made for this producer."""
    held = hold(authorized_at=NOW_MS)
    plain = event(hold=held, **changes)
    signed = dispatch.sign_hold(
        plain.request_id, plain.org, plain.key, plain.price_id, held, secret=HOLD_SECRET, producer=producer
    )
    return msgspec.structs.replace(plain, sig=signed)


def test_a_hold_is_good_for_the_producer_that_it_was_made_for_and_for_no_other() -> None:
    assert judged_from("images", made_for("images")).producer == "images"
    assert judged_from(ROUTER, made_for("")).producer == ROUTER
    for producer, sent in (("images", made_for("")), ("images", made_for("audio")), (ROUTER, made_for("images"))):
        with pytest.raises(Refused, match="bad signature"):
            judged_from(producer, sent)


def test_a_hold_of_a_producer_cannot_be_written_as_one_of_a_router() -> None:
    """What separates the signed parts would otherwise let one part pass for three."""
    sent = made_for("images")
    passed = msgspec.structs.replace(sent.hold, shard=f"r0\0{NOW_MS}\0images", authorized_at=0)
    with pytest.raises(Refused, match="bad signature"):
        judged_from(ROUTER, msgspec.structs.replace(sent, hold=passed))


def message(producer: str, key: bytes | None) -> bytes:
    envelope = usage.Envelope(usage.SCHEMA, producer, NOW_MS, PRICES, [msgspec.Raw(usage.encode_event(event()))])
    return usage.encode_envelope(usage.seal_envelope(envelope, key) if key else envelope)


def opened(body: bytes, keys: Keys = KEYS) -> usage.Envelope:
    return Judge(HOLD_SECRET, keys).open(body)


def test_a_producer_is_known_by_its_seal_and_a_router_has_none() -> None:
    assert opened(message("images", KEY)).producer == "images"
    assert opened(message(ROUTER, None)).producer == ROUTER
    assert opened(message("nobody-knows", None)).producer == "nobody-knows", "its events need the word of the edge"


def test_a_key_can_be_changed_while_the_old_one_is_in_use() -> None:
    both = {"images": (OTHER_KEY, KEY)}
    assert [opened(message("images", key), both).producer for key in (KEY, OTHER_KEY)] == ["images", "images"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (message("images", None), "the producer's seal is missing or wrong"),
        (message("images", OTHER_KEY), "the producer's seal is missing or wrong"),
        (message("images", KEY).replace(b'"cost":614000', b'"cost":614001'), "the producer's seal is missing or wrong"),
        (message("images", KEY).replace(b'"images"', b'"router-0"'), "sealed by a producer that is not known"),
        (message("audio", KEY), "sealed by a producer that is not known"),
        (message(ROUTER, KEY), "sealed by a producer that is not known"),
    ],
)
def test_a_message_with_a_seal_that_is_not_its_producers_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(Refused, match=said):
        opened(body)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"schema":"usage.v9"}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_is_refused_as_malformed(body: bytes) -> None:
    with pytest.raises(Refused, match="malformed envelope: "):
        opened(body)
