"""How much a request may cost: enough for whatever the provider may bill, and never more than there is."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import pricing
from libs.contracts.catalog import Model
from libs.errors import InsufficientBalance, KeyCapExceeded
from libs.pricing import Price, Rates, Usage
from services.edge import ask as asking
from services.edge.ask import LEAST_OUTPUT, Ask
from services.edge.head import Head
from tests.fixtures.samples import model, price
from tests.fixtures.strategies import TIMES_MS, prices, thorough

HEAD = Head(model="deepseek-chat", stream=False, usage_wanted=False, choices=1, output_cap=100, input_bound=5000)
MODELS = st.builds(
    lambda sold, context, most: model(price=sold, context_tokens=context, max_output_tokens=most),
    prices(),
    st.integers(1, 2_000_000),
    st.integers(1, 200_000),
)
HEADS = st.builds(
    Head,
    model=st.just("m"),
    stream=st.booleans(),
    usage_wanted=st.booleans(),
    choices=st.integers(1, 128),
    output_cap=st.none() | st.integers(1, 1 << 31),
    input_bound=st.integers(1, 40_000_000),
)
CREDIT = st.one_of(st.integers(-(10**12), 10**4), st.integers(0, 10**16))


def first(sold: Model | None = None, default: int = 8192, **changes: Any) -> Ask:
    return asking.first(msgspec.structs.replace(HEAD, **changes), sold or model(), default)


def refused(ask: Ask, available: int, link: str = "") -> InsufficientBalance:
    with pytest.raises(InsufficientBalance) as caught:
        asking.smaller(ask, available, link)
    return caught.value


@given(HEADS, MODELS, st.integers(1, 10_000), st.data(), TIMES_MS)
@thorough
def test_whatever_the_provider_bills_within_the_caps_was_held(
    head: Head, sold: Model, default: int, data: st.DataObject, unix_ms: int
) -> None:
    ask = asking.first(head, sold, default)
    assert ask.need >= 1
    prompt = data.draw(st.integers(0, min(head.input_bound, sold.context_tokens)))
    read = data.draw(st.integers(0, prompt))
    write = data.draw(st.integers(0, prompt - read))
    hour = data.draw(st.integers(0, prompt - read - write))
    output = data.draw(st.integers(0, ask.output_cap * ask.choices))
    billed = Usage(prompt - read - write - hour, read, write, hour, min(output, pricing.MAX_TOKENS))
    assert pricing.cost(sold.price, billed, unix_ms) <= ask.need


@given(HEADS, MODELS, st.integers(1, 10_000))
@thorough
def test_the_cap_is_within_the_model_s_and_the_caller_s(head: Head, sold: Model, default: int) -> None:
    ask = asking.first(head, sold, default)
    assert 1 <= ask.output_cap <= sold.max_output_tokens
    assert ask.output_cap <= (head.output_cap or default)
    assert ask.cap_given is (head.output_cap is not None)
    assert ask.choices == head.choices


@given(HEADS, MODELS, CREDIT)
@thorough
def test_a_smaller_request_fits_into_what_there_is_or_is_refused(head: Head, sold: Model, available: int) -> None:
    ask = asking.first(head, sold, 8192)
    try:
        less = asking.smaller(ask, available, "")
    except InsufficientBalance as error:
        tokens = error.extra["affordable_max_tokens"]
        assert 0 <= tokens <= sold.max_output_tokens
        assert ask.cap_given or min(tokens, ask.output_cap) < LEAST_OUTPUT
        if tokens:
            named = msgspec.structs.replace(head, output_cap=tokens)
            assert asking.first(named, sold, 8192).need <= max(available, 0)
        return
    assert less.need <= max(available, 0), "what is free is free for those in debt too"
    assert LEAST_OUTPUT <= less.output_cap <= ask.output_cap
    assert (less.choices, less.input_bound, less.cap_given) == (ask.choices, ask.input_bound, False)


def test_a_request_without_a_length_gets_the_default() -> None:
    assert first(output_cap=None, default=300).output_cap == 300
    assert first(output_cap=None, default=100_000).output_cap == model().max_output_tokens
    assert first(output_cap=None).cap_given is False


def test_a_length_above_the_model_s_own_is_brought_down() -> None:
    assert first(output_cap=1 << 31).output_cap == 8_192
    assert first(output_cap=1 << 31).cap_given is True


def test_input_above_the_context_is_brought_down() -> None:
    assert first(input_bound=10**7).input_bound == model().context_tokens
    assert first(input_bound=10).input_bound == 10


def test_every_choice_is_held_for() -> None:
    dollar = price(rates=Rates(0, 1_000_000, 0, 0, 0))
    assert first(model(price=dollar), choices=3).need == 300


def test_a_named_length_is_never_shortened() -> None:
    ask = first(output_cap=1000)
    error = refused(ask, ask.need - 1)
    assert error.extra["affordable_max_tokens"] == 999
    assert "lower max_tokens to 999 or add credit" in error.message


def test_an_unnamed_length_shrinks_to_what_there_is() -> None:
    ask = first(output_cap=None)
    assert asking.smaller(ask, ask.need - 1, "").output_cap == 8191
    enough = pricing.ceiling(ask.model.price, ask.input_bound, LEAST_OUTPUT)
    assert asking.smaller(ask, enough, "").output_cap == LEAST_OUTPUT
    error = refused(ask, enough - 1)
    assert error.extra["affordable_max_tokens"] == LEAST_OUTPUT - 1
    assert error.message.endswith("add credit.")
    assert "lower" not in error.message


def test_several_choices_share_what_there_is() -> None:
    ask = first(output_cap=None, choices=4)
    there = pricing.ceiling(ask.model.price, ask.input_bound, 4 * 100)
    assert asking.smaller(ask, there, "").output_cap == 100
    assert asking.smaller(ask, there - 1, "").output_cap == 99


@pytest.mark.parametrize("available", [0, -5_000_000_000])
def test_no_credit_at_all_is_said_in_numbers(available: int) -> None:
    ask = first(output_cap=1000, input_bound=1000)
    error = refused(ask, available, "https://x.example/topup")
    assert ask.need == 540_000 + 1_100_000
    assert error.extra == {
        "available": "0.000000000",
        "required": "0.001640000",
        "affordable_max_tokens": 0,
        "topup_url": "https://x.example/topup",
    }
    assert error.message == ("This request may cost up to $0.001640000 and $0.000000000 is available: add credit.")


def test_without_a_link_there_is_none() -> None:
    assert "topup_url" not in refused(first(), 0).extra


def test_a_free_model_needs_the_least_there_is() -> None:
    free = model(price=Price("deepseek-chat", Rates(0, 0, 0, 0, 0)))
    ask = first(free, output_cap=None)
    assert ask.need == 1, "a hold of nothing could not be told from none"
    assert asking.smaller(ask, 1, "") == ask
    assert asking.affordable(ask, 1) == pricing.MAX_TOKENS
    assert refused(ask, 0).extra["affordable_max_tokens"] == 0


def test_an_unnamed_length_shrinks_to_what_the_key_may_still_spend() -> None:
    ask = first(output_cap=None)
    assert asking.smaller_for_key(ask, ask.need - 1, 10**9).output_cap == 8191


def test_a_key_that_may_not_spend_that_much_is_told_so_in_numbers() -> None:
    ask = first(output_cap=1000)
    with pytest.raises(KeyCapExceeded) as caught:
        asking.smaller_for_key(ask, ask.need - 1, 5_000_000_000)
    assert caught.value.status == 402
    assert caught.value.extra == {
        "available": pricing.usd(ask.need - 1),
        "required": pricing.usd(ask.need),
        "affordable_max_tokens": 999,
        "key_limit": "5.000000000",
    }
    assert "lower max_tokens to 999 or use another key" in caught.value.message
    with pytest.raises(KeyCapExceeded) as caught:
        asking.smaller_for_key(first(output_cap=None), 0, 5_000_000_000)
    assert caught.value.message.endswith("of its $5.000000000: use another key.")


def test_a_debt_and_a_freeze_are_told_apart() -> None:
    owes = asking.barred(first(), -2_500_000_000, "https://x.example/topup")
    assert (owes.status, owes.code) == (402, "balance_negative")
    assert owes.message == "This account owes $2.500000000: add credit."
    assert owes.extra["available"] == "-2.500000000"
    assert owes.extra["affordable_max_tokens"] == 0
    assert owes.extra["topup_url"] == "https://x.example/topup"
    frozen = asking.barred(first(), 0, "")
    assert (frozen.status, frozen.code) == (402, "account_frozen")
    assert "support" in frozen.message
    assert frozen.extra["available"] == "0.000000000"
