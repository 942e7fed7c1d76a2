"""A whole answer (no stream) for a caller of the same protocol. Pure."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from libs import sse
from libs.contracts.dispatch import Dispatch
from libs.errors import UpstreamFailed
from libs.pricing import Usage
from libs.protocols import OPENAI_CHAT, Protocol
from services.router import meter, refusals
from services.router.convert import figures
from services.router.convert.answers import unfold_chat, unfold_messages
from services.router.passage import NO_ANSWER, UNKNOWN, Terms, id_of
from services.router.raws import UNREADABLE, encoded, fields_of, raw
from services.router.telling import with_cost


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


class Ended(msgspec.Struct):
    finish_reason: Any = None


_choice = msgspec.json.Decoder(Ended)
_seen = msgspec.json.Decoder(Seen)
STREAMED: Final = (b"data:", b"event:", b":", b"\xef\xbb\xbf")


def answer(
    body: bytes, order: Dispatch, started_ms: int, terms: Terms = UNKNOWN, *, charged: Usage | None = None
) -> Whole:
    """``charged``: what is recorded, where that is known already: the caller is told the same.

    Raises UpstreamFailed for a body that is no answer, or that is an error with a good status.
    """
    try:
        seen, fields = _seen.decode(body), fields_of(body)
    except UNREADABLE as error:
        raise UpstreamFailed(NO_ANSWER) from error
    if seen.error is not None:
        raise terms.declared(seen.error, order.protocol)
    said = seen.choices if order.protocol == OPENAI_CHAT else seen.content
    if said is None or (not said and order.protocol == OPENAI_CHAT):
        raise UpstreamFailed(NO_ANSWER)
    if order.protocol == OPENAI_CHAT:
        _refuse_broken(said)
    fields["model"] = raw(order.model)
    usage = _usage(seen, order)
    if charged is not None and charged != usage:
        shown = figures.chat(charged) if order.protocol == OPENAI_CHAT else figures.messages(charged)
        fields["usage"], usage = raw(shown), charged
    if usage is not None:
        fields["usage"] = with_cost(fields["usage"], usage, order, started_ms)
    return Whole(msgspec.json.encode(fields), usage, id_of(seen.id), sum(len(bytes(part)) for part in said))


def _refuse_broken(choices: list[msgspec.Raw]) -> None:
    """Raises the error that a provider's own word for the end of a choice means."""
    for choice in choices:
        try:
            finish = _choice.decode(choice).finish_reason
        except UNREADABLE:
            continue  # a choice of another shape passes as it is
        if isinstance(finish, str) and finish in refusals.BROKEN_FINISHES:
            raise refusals.broken_finish(finish)


def _usage(seen: Seen, order: Dispatch) -> Usage | None:
    """Figures that are all zero are none: nobody answers for nothing."""
    if seen.usage is None:
        return None
    used = meter.of_chat(seen.usage) if order.protocol == OPENAI_CHAT else meter.of_messages(seen.usage)
    return None if used == Usage() else used


def as_events(body: bytes, protocol: Protocol) -> list[sse.Event]:
    """The events that a stream of this answer would have had; those of a stream that is not called one.

    Raises UpstreamFailed for a body that is no answer.
    """
    if body.startswith(STREAMED):
        reader = sse.Reader()
        return [*reader.feed(body), *reader.finish()]
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE as error:
        raise UpstreamFailed(NO_ANSWER) from error
    if not isinstance(document, dict):
        raise UpstreamFailed(NO_ANSWER)
    if document.get("error") is not None:
        return [sse.Event("", encoded({"type": "error", "error": document["error"]}))]
    if protocol == OPENAI_CHAT:
        return [*_events(document, "choices", unfold_chat.unfold), sse.Event("", b"[DONE]")]
    return _events(document, "content", unfold_messages.unfold)


def _events(
    document: dict[str, Any], said: str, unfold: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> list[sse.Event]:
    if not isinstance(document.get(said), list):
        raise UpstreamFailed(NO_ANSWER)
    return [sse.Event("", encoded(event)) for event in unfold(document)]
