"""Whether a provider would take a request, and what it says when it would not. Nothing but the request is looked at."""

from collections.abc import Mapping

from deploy.demo.provider import chat_requests, limits, messages_requests
from deploy.demo.provider.profiles import profile_of
from deploy.demo.provider.refusals import Refusal
from libs.protocols import OPENAI_CHAT


def refusal_of(provider: str, protocol: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """The message with which ``provider`` refuses the request, or None when it takes it.

    Of the headers only `anthropic-version` and `anthropic-beta` are read; a credential is nobody's business here.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        if protocol == OPENAI_CHAT:
            ask = chat_requests.read(body, provider)
        else:
            ask = messages_requests.read(body, provider, lower)
        limits.check(ask, profile_of(provider))
    except Refusal as refusal:
        return refusal.message
    return None
