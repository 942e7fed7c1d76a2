"""How much a request may cost: what is held for it before it leaves. Pure."""

from typing import Final

import msgspec

from libs import pricing
from libs.contracts.catalog import Model
from libs.errors import AccountFrozen, BalanceNegative, InsufficientBalance, KeyCapExceeded
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
        """Never nothing, also where the price is: a hold is what tells a request from one that nobody admitted."""
        return max(pricing.ceiling(self.model.price, self.input_bound, self.output_cap * self.choices), 1)


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
    if available < 1:
        return 0
    return pricing.affordable_output(ask.model.price, ask.input_bound, available) // ask.choices


def smaller(ask: Ask, available: int, topup_url: str) -> Ask:
    """The same request within what there is, where the caller left its length to us.

    Raises InsufficientBalance with the numbers when the caller named a length, or when too little would be left.
    """
    less = _shorter(ask, available)
    if less is None:
        raise refusal(ask, available, topup_url)
    return less


def smaller_for_key(ask: Ask, left: int, cap: int) -> Ask:
    """The same within what the key may still spend of its ``cap``. Raises KeyCapExceeded."""
    less = _shorter(ask, left)
    if less is not None:
        return less
    tokens = _tokens(ask, left)
    advice = f"lower max_tokens to {tokens} or use another key" if tokens >= LEAST_OUTPUT else "use another key"
    raise KeyCapExceeded(
        f"This request may cost up to ${pricing.usd(ask.need)} and this key may spend ${pricing.usd(left)} more "
        f"of its ${pricing.usd(cap)}: {advice}.",
        extra={**_numbers(ask, left), "key_limit": pricing.usd(cap)},
    )


def _shorter(ask: Ask, available: int) -> Ask | None:
    cap = min(affordable(ask, available), ask.output_cap)
    if ask.cap_given or cap < LEAST_OUTPUT:
        return None
    return msgspec.structs.replace(ask, output_cap=cap)


def refusal(ask: Ask, available: int, topup_url: str) -> InsufficientBalance:
    """402 with what there is, what it would take, and how long an answer the credit still buys."""
    there, tokens = max(available, 0), _tokens(ask, available)
    advice = f"lower max_tokens to {tokens} or add credit" if tokens >= LEAST_OUTPUT else "add credit"
    return InsufficientBalance(
        f"This request may cost up to ${pricing.usd(ask.need)} and ${pricing.usd(there)} is available: {advice}.",
        extra={**_numbers(ask, there), **_link(topup_url)},
    )


def barred(ask: Ask, available: int, topup_url: str) -> InsufficientBalance:
    """402 for an account that is in debt, or may not spend what it has."""
    extra = {**_numbers(ask, min(available, 0)), **_link(topup_url)}
    if available < 0:
        return BalanceNegative(f"This account owes ${pricing.usd(-available)}: add credit.", extra=extra)
    return AccountFrozen("This account is frozen and cannot spend: contact support.", extra=extra)


def _tokens(ask: Ask, available: int) -> int:
    return min(affordable(ask, available), ask.model.max_output_tokens)


def _numbers(ask: Ask, available: int) -> dict[str, str | int]:
    return {
        "available": pricing.usd(available),
        "required": pricing.usd(ask.need),
        "affordable_max_tokens": _tokens(ask, available),
    }


def _link(topup_url: str) -> dict[str, str]:
    return {"topup_url": topup_url} if topup_url else {}
