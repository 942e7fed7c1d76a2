"""What a conversion knows beside the body, and what it hands on to the answer's conversion. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from libs.contracts.profile import Profile
from services.router.convert.names import Names


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """For a request. ``output_cap`` is the number of output tokens that was held for: no more may be asked of the
    provider. ``upstream_stream``: the provider is asked for a stream, whatever the caller wants.
    """

    upstream_model: str
    output_cap: int
    upstream_stream: bool
    profile: Profile


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """A request for the provider. ``dropped`` names the fields that could not be honoured, each once, in the order of
    the body; ``stops`` are the caller's stop sequences; ``thinking_hidden``: the caller switched thinking off, so
    none is shown; ``tools``: the names that were declared."""

    body: Mapping[str, Any]
    dropped: tuple[str, ...] = ()
    names: Names = Names()
    stops: tuple[str, ...] = ()
    thinking_hidden: bool = False


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """For an answer. ``model`` is the name that the caller used; ``nonce`` is what ids are made from, and no other
    request has it; ``created`` is a Unix second; ``prompt_tokens`` an estimate, for the figures of a stream's first
    event; ``sign`` makes the signature of a thinking block that has none of its own: not empty, URL-safe."""

    model: str
    nonce: str
    created: int
    prompt_tokens: int
    sign: Callable[[str], str]
    names: Names = Names()
    stops: tuple[str, ...] = ()
    thinking_hidden: bool = False
    think_tags: bool = False
