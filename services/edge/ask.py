"""How much a request may cost: what is held for it before it leaves. Pure."""

from typing import Final

import msgspec

from libs import pricing
from libs.contracts.catalog import Model
from libs.errors import InsufficientBalance
from services.edge.head import Head

LEAST_OUTPUT: Final = 64  # a shorter answer is of no use to anybody: better a 402 that says so


class Ask(msgspec.Struct, frozen=True):
    """The worst case of one request: tokens per choice, and the nano-USD that cover it."""

    model: Model
    choices: int
    input_bound: int
    output_cap: int
    cap_given: bool

    @property
    def need(self) -> int:
        return pricing.ceiling(self.model.price, self.input_bound, self.output_cap * self.choices)


def first(head: Head, model: Model, default_cap: int) -> Ask:
    """The worst case as asked. A cap above the model's own is brought down to it: it could never be reached."""
    wanted = head.output_cap if head.output_cap is not None else default_cap
    return Ask(
        model=model,
        choices=head.choices,
        input_bound=min(head.input_bound, model.context_tokens),
        output_cap=min(wanted, model.max_output_tokens),
        cap_given=head.output_cap is not None,
    )


def affordable(ask: Ask, available: int) -> int:
    """Output tokens per choice that ``available`` nano-USD can pay for."""
    return pricing.affordable_output(ask.model.price, ask.input_bound, max(available, 0)) // ask.choices


def smaller(ask: Ask, available: int, topup_url: str) -> Ask:
    """The same request within what there is, where the caller left its length to us.

    Raises InsufficientBalance with the numbers when the caller named a length, or when too little would be left.
    """
    cap = min(affordable(ask, available), ask.output_cap)
    if ask.cap_given or cap < LEAST_OUTPUT:
        raise refusal(ask, available, topup_url)
    return msgspec.structs.replace(ask, output_cap=cap)


def refusal(ask: Ask, available: int, topup_url: str) -> InsufficientBalance:
    """402 with what there is, what it would take, and how long an answer the credit still buys."""
    there = max(available, 0)
    tokens = min(affordable(ask, there), ask.model.max_output_tokens)
    advice = f"lower max_tokens to {tokens} or add credit" if tokens >= LEAST_OUTPUT else "add credit"
    link = {"topup_url": topup_url} if topup_url else {}
    return InsufficientBalance(
        f"This request may cost up to ${pricing.usd(ask.need)} and ${pricing.usd(there)} is available: {advice}.",
        extra={
            "available": pricing.usd(there),
            "required": pricing.usd(ask.need),
            "affordable_max_tokens": tokens,
            **link,
        },
    )
