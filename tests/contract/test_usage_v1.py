"""usage.v1: what was ever published can be read for ever, and what is published fits its bounds."""

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import usage
from libs.contracts.dispatch import Hold
from libs.contracts.usage import Attempt, Envelope, UsageEvent
from libs.pricing import Usage, cost, version_of
from services.billing.verdict import Judge, Refused, honest
from tests.fixtures.samples import HOLD_SECRET, NOW_MS, USAGE, event, price
from tests.fixtures.strategies import json_values, quick, thorough

FOLDER = Path(__file__).parents[1] / "data" / "usage_v1"
EVENTS = sorted(FOLDER.glob("event_*.json"))
ENVELOPES = sorted(FOLDER.glob("envelope_*.json"))
FIRST = UUID("019e7044-8800-7000-8000-000000000001")


PRODUCER_KEY = b"a-key-of-the-images-service"
WRITTEN = {
    "envelope_first_release.json": "58d71eab5cf3289b",
    "envelope_of_a_producer.json": "a23c5b4387798a60",
    "envelope_with_future_fields.json": "eaea6662fefea8d3",
    "event_estimated.json": "a96e58fbe0c692ab",
    "event_hold_with_its_time.json": "7af7b329364c8508",
    "event_over_its_hold.json": "902d64e5c47e9abe",
    "event_tier_and_window.json": "054f68985c463a71",
    "event_usage_full.json": "4c6972dbdd59e600",
    "event_void_minimal.json": "4c39297199bcf5cf",
    "event_with_future_fields.json": "111dbd9b40e0d3a2",
}


def test_the_golden_files_are_there_as_they_were_written() -> None:
    """New ones are added; those that are here never change, because what was published does not."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in FOLDER.glob("*.json")}
    assert found == WRITTEN


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_an_event_that_was_once_published_is_read_and_charged_for_ever(path: Path) -> None:
    raw = path.read_bytes()
    found = usage.decode_event(raw)
    first = usage.decode_envelope((FOLDER / "envelope_first_release.json").read_bytes())
    sold = first.prices[found.price_id]
    assert version_of(sold) == found.price_id
    assert found.cost == cost(sold, found.usage, found.started_at) == json.loads(raw)["cost"]
    assert Judge(HOLD_SECRET, {}).judge(raw, first, honest(first.prices), NOW_MS).event == found


def test_the_first_event_says_what_it_said_when_it_was_written() -> None:
    assert usage.decode_event((FOLDER / "event_usage_full.json").read_bytes()) == UsageEvent(
        request_id=FIRST,
        outcome="usage",
        reason="complete",
        org=7,
        key=70,
        model="deepseek-chat",
        offer="deepseek-chat@deepseek",
        provider="deepseek",
        provider_model="deepseek-chat",
        price_id="pr_ce297f6b3ab8cd1252298023",
        usage=Usage(input=1000, cache_read=200, cache_write=30, cache_write_1h=4, output=300, reasoning=100),
        cost=624_260,
        hold=Hold(cash=10_000_000, plan=5, epoch=3, shard="r0"),
        sig="cc086d2a58b0db314e5c5f455b0e87306da46a8b7bbb59779a6925589abbd740",
        accepted_at=1_780_000_000_000,
        started_at=1_780_000_000_005,
        ended_at=1_780_000_000_900,
        first_token_at=1_780_000_000_100,
        provider_request_id="chatcmpl-1",
        stream=True,
        client_gone=True,
        attempts=(Attempt("deepseek-chat@deepseek", 200, "complete", 895),),
    )


def test_a_hold_says_when_it_was_made_and_its_signature_covers_that() -> None:
    raw = (FOLDER / "event_hold_with_its_time.json").read_bytes()
    found = usage.decode_event(raw)
    assert found.hold == Hold(cash=9_000_000, plan=1_000_000, epoch=4, shard="r0", authorized_at=NOW_MS - 3)
    first = usage.decode_envelope((FOLDER / "envelope_first_release.json").read_bytes())
    other = raw.replace(str(NOW_MS - 3).encode(), str(NOW_MS - 4).encode())
    with pytest.raises(Refused, match="bad signature"):
        Judge(HOLD_SECRET, {}).judge(other, first, honest(first.prices), NOW_MS)


def test_a_producer_s_message_is_accepted_for_ever() -> None:
    judge = Judge(HOLD_SECRET, {"images": (PRODUCER_KEY,)})
    found = judge.open((FOLDER / "envelope_of_a_producer.json").read_bytes())
    [raw] = found.events
    accepted = judge.judge(bytes(raw), found, honest(found.prices), NOW_MS)
    assert (accepted.producer, accepted.event.cost) == ("images", 614_000)
    assert found.mac == usage.mac_of(found, PRODUCER_KEY)


SEALED = usage.seal_envelope(
    Envelope("usage.v1", "images", NOW_MS, {version_of(price()): price()}, [msgspec.Raw(usage.encode_event(event()))]),
    PRODUCER_KEY,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"producer": "audio"},
        {"sent_at": NOW_MS + 1},
        {"prices": {}},
        {"prices": {"pr_other": price()}},
        {"events": []},
        {"events": SEALED.events * 2},
        {"events": [msgspec.Raw(usage.encode_event(event(reason="cut")))]},
        {"schema": "usage.v2"},
    ],
)
def test_the_seal_covers_everything_but_itself(changes: dict[str, Any]) -> None:
    assert usage.mac_of(SEALED, PRODUCER_KEY) == SEALED.mac
    assert usage.mac_of(msgspec.structs.replace(SEALED, mac="x"), PRODUCER_KEY) == SEALED.mac
    assert usage.mac_of(msgspec.structs.replace(SEALED, **changes), PRODUCER_KEY) != SEALED.mac
    assert usage.mac_of(SEALED, b"another-key-of-16-chars") != SEALED.mac


@given(json_values())
@quick
def test_a_seal_survives_the_way_whatever_is_sealed(value: Any) -> None:
    raws = [msgspec.Raw(json.dumps(value).encode()), msgspec.Raw(json.dumps({"a": value}, indent=2).encode())]
    sealed = usage.seal_envelope(Envelope("usage.v1", "images", 1, {}, raws), PRODUCER_KEY)
    found = usage.decode_envelope(usage.encode_envelope(sealed))
    assert found.mac == usage.mac_of(found, PRODUCER_KEY)


def test_a_router_s_message_has_no_seal_in_it() -> None:
    sent = msgspec.structs.replace(SEALED, mac="", producer="router-0")
    assert b"mac" not in usage.encode_envelope(sent)


def test_fields_that_came_later_may_be_missing() -> None:
    found = usage.decode_event((FOLDER / "event_void_minimal.json").read_bytes())
    assert (found.attempts, found.first_token_at, found.stream, found.usage) == ((), None, False, Usage())


def test_fields_that_come_from_the_future_are_passed_over() -> None:
    known = usage.decode_event((FOLDER / "event_usage_full.json").read_bytes())
    assert usage.decode_event((FOLDER / "event_with_future_fields.json").read_bytes()) == known


@pytest.mark.parametrize("path", ENVELOPES, ids=lambda path: path.stem)
def test_an_envelope_that_was_once_published_is_read_for_ever(path: Path) -> None:
    found = usage.decode_envelope(path.read_bytes())
    assert found.schema == "usage.v1"
    assert found.producer
    assert {version_of(sold): sold for sold in found.prices.values()} == found.prices
    named = {usage.decode_event(raw).price_id for raw in found.events if b'"outcome"' in bytes(raw)}
    assert named <= set(found.prices)


def test_an_event_keeps_everything_on_its_way() -> None:
    sent = event(
        attempts=(Attempt("a@b", 0, "unreachable", 5), Attempt("c@d", 200, "complete", 9)),
        first_token_at=NOW_MS + 1,
        provider_request_id='chatcmpl-"1"\n日本',
        stream=True,
        client_gone=True,
    )
    assert usage.decode_event(usage.encode_event(sent)) == sent


def test_an_envelope_keeps_its_events_byte_for_byte() -> None:
    raws = [usage.encode_event(event()), b'{"no": "event",  "n": 1.0}', b"17"]
    sold = price()
    sent = Envelope("usage.v1", "r-7", NOW_MS, {version_of(sold): sold}, [msgspec.Raw(raw) for raw in raws])
    found = usage.decode_envelope(usage.encode_envelope(sent))
    assert [bytes(raw) for raw in found.events] == raws
    assert (found.producer, found.sent_at, found.prices) == ("r-7", NOW_MS, sent.prices)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "usage.v2"},
        {"schema": "USAGE.V1"},
        {"schema": None},
        {"producer": 1},
        {"sent_at": "now"},
        {"prices": []},
        {"prices": {"pr_1": {"model": "m"}}},
        {"events": {}},
        {"events": None},
    ],
)
def test_an_envelope_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    good = {"schema": "usage.v1", "producer": "r", "sent_at": 1, "prices": {}, "events": []}
    assert usage.decode_envelope(json.dumps(good).encode()).events == []
    with pytest.raises(msgspec.DecodeError):
        usage.decode_envelope(json.dumps({**good, **changes}).encode())
    for name in changes:
        with pytest.raises(msgspec.DecodeError):
            usage.decode_envelope(json.dumps({k: v for k, v in good.items() if k != name}).encode())


@given(json_values())
@thorough
def test_any_other_json_is_refused_as_what_it_is(value: Any) -> None:
    body = json.dumps(value).encode()
    for decode in (usage.decode_event, usage.decode_envelope):
        with pytest.raises(msgspec.DecodeError):
            decode(body)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outcome", "refund"),
        ("outcome", None),
        ("usage", {"audio": 5}),
        ("usage", {"input": -1}),
        ("usage", {"input": 1 << 40}),
        ("usage", {"reasoning": 5}),
        ("usage", None),
        ("cost", 1.5),
        ("cost", "1"),
        ("cost", True),
        ("org", None),
        ("request_id", "req_1"),
        ("hold", {"cash": 1}),
    ],
)
def test_a_field_of_another_meaning_is_refused(name: str, value: object) -> None:
    said = {**json.loads(usage.encode_event(event())), name: value}
    with pytest.raises(msgspec.DecodeError):
        usage.decode_event(json.dumps(said).encode())


@pytest.mark.parametrize("name", [f.name for f in msgspec.structs.fields(UsageEvent) if f.required])
def test_no_required_field_may_be_missing(name: str) -> None:
    said = json.loads(usage.encode_event(event()))
    del said[name]
    with pytest.raises(msgspec.DecodeError, match=name):
        usage.decode_event(json.dumps(said).encode())


def test_an_org_s_events_keep_their_queue() -> None:
    """Both sides work it out for themselves; another formula would need both changed at once."""
    assert [usage.partition_of(org) for org in (1, 2, 3, 7, 70, 10**12)] == [7, 5, 3, 2, 7, 0]
    assert (usage.routing_key(3), usage.queue_name(3)) == ("p3", "usage.v1.p3")


@given(st.integers(-(2**70), 2**70))
@quick
def test_every_org_has_a_queue(org: int) -> None:
    assert 0 <= usage.partition_of(org) < usage.PARTITIONS


def test_zero_buckets_are_left_out_of_the_message() -> None:
    assert json.loads(usage.encode_event(event(usage=USAGE)))["usage"] == {
        "input": 1000,
        "cache_read": 200,
        "output": 300,
        "reasoning": 100,
    }
