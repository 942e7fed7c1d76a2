"""What is changed in a caller's body on its way to an offer of the same protocol. Pure.

Only top-level fields are touched; every value that is not replaced keeps the caller's own bytes, numbers and key order
included.
"""

import msgspec

from libs.contracts.catalog import Offer
from libs.contracts.dispatch import Dispatch
from libs.errors import InvalidRequest
from libs.protocols import OPENAI_CHAT

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def request(body: bytes, order: Dispatch, offer: Offer) -> bytes:
    """The body for the offer: its own model name, the output cap that was held for, and usage asked for."""
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not a JSON object: {error}.") from error
    _put(fields, "model", offer.upstream_model)
    _cap(fields, order)
    if order.protocol == OPENAI_CHAT and order.stream:
        _ask_for_usage(fields)
    return msgspec.json.encode(fields)


def _cap(fields: dict[str, msgspec.Raw], order: Dispatch) -> None:
    """The provider may emit what was held for and not a token more. `max_tokens` is the name that all of them read;
    the newer one is capped beside it where a caller used it, because some read that."""
    _put(fields, "max_tokens", order.output_cap)
    if order.protocol == OPENAI_CHAT and bytes(fields.get("max_completion_tokens", b"null")) != b"null":
        _put(fields, "max_completion_tokens", order.output_cap)


def _ask_for_usage(fields: dict[str, msgspec.Raw]) -> None:
    """Without `stream_options.include_usage` most providers stream no usage at all, and the request would be unpaid."""
    given = bytes(fields.get("stream_options", b"null"))
    try:
        options = _fields.decode(given) if given != b"null" else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest("stream_options must be an object.", param="stream_options") from error
    options["include_usage"] = msgspec.Raw(b"true")
    fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))


def _put(fields: dict[str, msgspec.Raw], name: str, value: object) -> None:
    fields[name] = msgspec.Raw(msgspec.json.encode(value))
