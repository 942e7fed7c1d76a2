"""A whole answer (no stream) for a caller of the same protocol. Pure."""

from typing import Any

import msgspec

from libs.contracts.dispatch import Dispatch
from libs.errors import UpstreamFailed
from libs.pricing import Usage
from libs.protocols import OPENAI_CHAT
from services.router import meter, refusals
from services.router.passage import NO_ANSWER, UNREADABLE, fields_of, id_of, raw, with_cost


class Whole(msgspec.Struct, frozen=True):
    """The caller's body, the provider's figures (None when it gave none), its id, and the size of what was said."""

    body: bytes
    usage: Usage | None
    upstream_id: str | None
    delivered: int


class Seen(msgspec.Struct):
    """What is read of an answer; the rest passes by."""

    id: Any = None
    choices: list[msgspec.Raw] | None = None
    content: list[msgspec.Raw] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_seen = msgspec.json.Decoder(Seen)


def answer(body: bytes, order: Dispatch, started_ms: int) -> Whole:
    """Raises UpstreamFailed for a body that is no answer, or that is an error with a good status."""
    try:
        seen, fields = _seen.decode(body), fields_of(body)
    except UNREADABLE as error:
        raise UpstreamFailed(NO_ANSWER) from error
    if seen.error is not None:
        raise refusals.declared(seen.error)
    said = seen.choices if order.protocol == OPENAI_CHAT else seen.content
    if said is None:
        raise UpstreamFailed(NO_ANSWER)
    fields["model"] = raw(order.model)
    usage = _usage(seen, order)
    if usage is not None:
        fields["usage"] = with_cost(fields["usage"], usage, order, started_ms)
    return Whole(msgspec.json.encode(fields), usage, id_of(seen.id), sum(len(bytes(part)) for part in said))


def _usage(seen: Seen, order: Dispatch) -> Usage | None:
    """Figures that are all zero are none: nobody answers for nothing."""
    if seen.usage is None:
        return None
    used = meter.of_chat(seen.usage) if order.protocol == OPENAI_CHAT else meter.of_messages(seen.usage)
    return None if used == Usage() else used
