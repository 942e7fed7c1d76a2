"""What goes to the provider for a caller's request, and what the answer will have to know of it. Pure."""

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from libs.contracts.catalog import Offer
from libs.contracts.dispatch import Dispatch
from libs.protocols import OPENAI_CHAT
from services.router import rewrite, wishes
from services.router.convert.replay import Recall
from services.router.convert.terms import Answering, Terms
from services.router.convert.to_chat import request as to_chat
from services.router.convert.to_messages import request as to_messages

BYTES_PER_TOKEN: Final = 4
SPEAKABLE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
MOST_NAMED: Final = 32


class Prepared(msgspec.Struct, frozen=True):
    """``stream``: the provider is asked for a stream. ``answering`` is None where both speak the same protocol.
    ``dropped`` names fields that could not be honoured."""

    body: bytes
    stream: bool
    dropped: tuple[str, ...] = ()
    answering: Answering | None = None


def prepare(
    received: bytes, order: Dispatch, offer: Offer, *, sign: Callable[[str], str], recall: Recall, started_ms: int
) -> Prepared:
    """Raises InvalidRequest, or UnsupportedParameter for what this offer cannot do."""
    received = wishes.stripped(received)
    stream = order.stream or offer.profile.stream_only != "never"
    if offer.protocol == order.protocol:
        body, dropped = rewrite.request(received, order, offer, stream=stream)
        return Prepared(body, stream, _speakable(dropped))
    terms = Terms(
        upstream_model=offer.upstream_model,
        output_cap=order.output_cap,
        upstream_stream=stream,
        profile=offer.profile,
    )
    if offer.protocol == OPENAI_CHAT:
        converted = to_chat.convert(received, terms)
    else:
        converted = to_messages.convert(received, terms, recall)
    body = msgspec.json.encode(converted.body)
    answering = Answering(
        model=order.model,
        nonce=order.request_id.hex,
        created=started_ms // 1000,
        prompt_tokens=len(body) // BYTES_PER_TOKEN,
        sign=sign,
        names=converted.names,
        stops=converted.stops,
        thinking_hidden=converted.thinking_hidden,
        think_tags=offer.profile.think_tags,
    )
    return Prepared(body, stream, _speakable(converted.dropped), answering)


def _speakable(names: Iterable[str]) -> tuple[str, ...]:
    """Fit for a header: callers choose these names, and a header has rules and a size."""
    return tuple(name for name in dict.fromkeys(names) if SPEAKABLE.fullmatch(name))[:MOST_NAMED]
