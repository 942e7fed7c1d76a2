"""What is changed in a caller's body on its way to an offer of the same protocol. Pure.

Only what must change is touched; every value that is not replaced keeps the caller's own bytes, numbers and key order
included.
"""

from typing import Any, Final

import msgspec

from libs.contracts.catalog import Offer
from libs.contracts.dispatch import Dispatch
from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from libs.protocols import OPENAI_CHAT
from libs.server_tools import is_server_tool
from services.router import rewrite_chat, rewrite_messages
from services.router.raws import UNREADABLE, Fields, fields_of, has, raw

UNPRICED: Final = ("service_tier", "speed", "inference_geo", "fallbacks", "fallback_credit_token", "billing_policy")
CAP_FIELDS: Final = ("max_tokens", "max_completion_tokens")

_tools: Final = msgspec.json.Decoder(list[msgspec.Raw])


def request(body: bytes, order: Dispatch, offer: Offer, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
    """The body for the offer, and the names of fields that could not be honoured."""
    try:
        fields = fields_of(body)
    except UNREADABLE as error:
        raise InvalidRequest(f"The body is not a JSON object: {error}.") from error
    try:
        dropped = _edit(fields, order, offer, stream=stream)
    except UNREADABLE as error:
        raise InvalidRequest(f"The body is not a valid request: {error}.") from error
    return msgspec.json.encode(fields), dropped


def _edit(fields: Fields, order: Dispatch, offer: Offer, *, stream: bool) -> tuple[str, ...]:
    fields["model"] = raw(offer.upstream_model)
    if stream and not order.stream:
        fields["stream"] = raw(value=True)
    _cap(fields, order, offer.profile)
    dropped = [*_without_server_tools(fields), *_without(fields, (*UNPRICED, *offer.profile.drop_fields))]
    if order.protocol == OPENAI_CHAT:
        rewrite_chat.edit(fields, offer.profile, order.output_cap, stream=stream)
    else:
        rewrite_messages.edit(fields, offer.profile, order.output_cap)
    return tuple(dropped)


def _cap(fields: Fields, order: Dispatch, profile: Profile) -> None:
    """The provider may emit what was held for and not a token more. Said once, by the name that this endpoint reads:
    OpenAI's own refuses a request that has both."""
    for name in CAP_FIELDS if order.protocol == OPENAI_CHAT else ():
        if name != profile.cap_field:
            fields.pop(name, None)
    fields[profile.cap_field] = raw(order.output_cap)


def _without_server_tools(fields: Fields) -> list[str]:
    """Tools that a provider runs are billed by the call and not sold here: none may slip through beside others."""
    if not has(fields, "tools"):
        return []
    tools = [(tool, fields_of(tool)) for tool in _tools.decode(fields["tools"])]
    kinds = [_kind(tool) for _, tool in tools]
    if not any(map(is_server_tool, kinds)):
        return []
    fields["tools"] = raw([tool for (tool, _), kind in zip(tools, kinds, strict=True) if not is_server_tool(kind)])
    return [f"tools.{kind}" for kind in kinds if is_server_tool(kind)]


def _kind(tool: Fields) -> Any:
    return msgspec.json.decode(tool["type"]) if "type" in tool else None


def _without(fields: Fields, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if fields.pop(name, None) is not None]
