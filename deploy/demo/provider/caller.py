"""Who calls, with what, and what they get: from a request's path, headers and body to a Plan. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from deploy.demo.provider import chat_requests, cues, limits, messages_requests, plan
from deploy.demo.provider.ask import Ask
from deploy.demo.provider.frames import Stamp
from deploy.demo.provider.plan import Plan
from deploy.demo.provider.profiles import Profile, profile_of
from deploy.demo.provider.refusals import Refusal
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol

BAD_KEY: Final = "bad-key"
_COUNTING: Final = "/messages/count_tokens"
_SUFFIXES: Final[tuple[tuple[str, Protocol], ...]] = (
    ("/chat/completions", OPENAI_CHAT),
    ("/messages", ANTHROPIC_MESSAGES),
    (_COUNTING, ANTHROPIC_MESSAGES),
)


class Call(msgspec.Struct, frozen=True):
    """A request as it came in; header names are lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def protocol(self) -> Protocol | None:
        """The protocol whose endpoint the path is, whatever stands before it; None when it is neither's."""
        return next((protocol for suffix, protocol in _SUFFIXES if self.path.endswith(suffix)), None)

    @property
    def counts(self) -> bool:
        """It asks only how many tokens a request has."""
        return self.path.endswith(_COUNTING)

    @property
    def provider(self) -> str:
        """The first part of what stands before the endpoint: `deepseek` of `/deepseek/v1/chat/completions`."""
        for suffix, _ in _SUFFIXES:
            if self.path.endswith(suffix):
                first = self.path.removesuffix(suffix).strip("/").partition("/")[0]
                return "" if first == "v1" else first
        return ""

    @property
    def credential(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else self.headers.get("x-api-key", "")

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.credential.encode()).hexdigest()[:16] if self.credential else ""


def respond(call: Call, stamp: Stamp) -> tuple[Ask | None, Plan]:
    """What the call asks for, None when it is not understood, and what it gets."""
    protocol, profile = call.protocol or OPENAI_CHAT, profile_of(call.provider)
    ask, wait = None, 0.0
    try:
        ask = understand(call, profile)
        cued = cues.read(ask.asked, _about(ask))
        wait = cued.delay
        limits.check(ask, profile, cued.context)
        said = msgspec.structs.replace(ask, asked=cues.without(ask.asked))
        return ask, plan.count(ask, cued) if call.counts else plan.answer(said, cued, profile, stamp)
    except cues.BadCue as error:
        return ask, plan.refuse(Refusal(400, str(error), code="bad_cue"), protocol, profile, stamp)
    except Refusal as refusal:
        return ask, plan.refuse(refusal, protocol, profile, stamp, wait)


def understand(call: Call, profile: Profile) -> Ask:
    """Raises Refusal."""
    if call.protocol is None or (call.counts and not profile.messages.counts):
        raise Refusal(404)
    if call.credential in ("", BAD_KEY):
        raise Refusal(401)
    if not call.headers.get("content-type", "").startswith("application/json"):
        raise Refusal(400, "The content type must be application/json.")
    if call.protocol == OPENAI_CHAT:
        return chat_requests.read(call.body, call.provider)
    if profile.wants_version and not call.headers.get("anthropic-version"):
        raise Refusal(400, "anthropic-version: header is required")
    return messages_requests.read(call.body, call.provider, call.headers, counts=call.counts)


def _about(ask: Ask) -> tuple[str, ...]:
    """The words that a cue can be limited to."""
    return ask.provider, ask.protocol, "stream" if ask.stream else "plain"
