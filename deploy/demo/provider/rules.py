"""What a provider demands of a request, as data: one record per protocol, and the words it refuses with."""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Switch = Literal["effort", "deepseek", "qwen", "glm"]
Signatures = Literal["own", "any"]

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
CHOICES: Final = ("auto", "none", "required", "function")
FORMATS: Final = ("text", "json_object", "json_schema")
IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")

# What only the other protocol has. A provider that got one of these was sent a request that nobody had converted.
ONLY_MESSAGES: Final = (
    *("system", "stop_sequences", "output_config", "output_format", "context_management", "container", "mcp_servers"),
    *("anthropic_version", "betas", "thread", "inference_geo", "input_schema"),
)
ONLY_CHAT: Final = (
    *("stop", "n", "stream_options", "response_format", "reasoning_effort", "max_completion_tokens", "seed", "user"),
    *("frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "parallel_tool_calls"),
    *("functions", "function_call", "enable_thinking", "thinking_budget", "tool_stream", "modalities", "store"),
)
KNOWN_TO_MESSAGES: Final = (
    *("model", "messages", "max_tokens", "system", "stream", "stop_sequences", "temperature", "top_p", "top_k"),
    *("tools", "tool_choice", "thinking", "metadata", "service_tier", "container", "mcp_servers", "output_config"),
    *("context_management", "output_format", "inference_geo", "speed", "cache_control", "fallbacks", "compaction"),
    *("fallback_credit_token", "diagnostics", "user_profile_id", "workspace_id", "billing_policy", "thread"),
)

WORDS: Final = {
    "field": "Unrecognized request argument supplied: {field}",
    "role": "Invalid value: '{role}'. Supported values are: {roles}.",
    "mid_system": "System message must be at the beginning.",
    "part": "Invalid value: '{part}'. Supported values are: {parts}.",
    "sequence": "Invalid type for '{place}.content': expected a string, but got an array instead.",
    "vision": "Invalid content type. image_url is only supported by certain models.",
    "unanswered": "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'. The following tool_call_ids did not have response messages: {ids}",
    "orphan": "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
    "'tool_calls'.",
    "replay": "The `reasoning_content` in the thinking mode must be passed back to the API.",
    "choice": "Invalid value for 'tool_choice': {choice} is not supported with this model.",
    "thinking_choice": "Thinking mode does not support this tool_choice",
    "typed_tool": "Invalid value: '{type}'. Supported values are: 'function'.",
    "format": "Invalid parameter: 'response_format' of type '{format}' is not supported with this model.",
    "cap": "max_tokens is too large: {cap}. This model supports at most {limit} completion tokens.",
    "context": "This model's maximum context length is {limit} tokens. However, you requested {total} tokens "
    "({prompt} in the messages, {cap} in the completion). Please reduce the length of the messages or completion.",
    "temperature": "Invalid 'temperature': must be {range}.",
}


class ChatRules(msgspec.Struct, frozen=True, kw_only=True):
    """One openai_chat endpoint. Models are told by patterns that are searched for in their names; None: no model.

    ``roles`` are known; with ``mid_system`` a system message may stand anywhere, else only at the head.
    ``parts``: the kinds of content part of a user's message. ``string_content``: no parts without an image.
    ``vision``: models that see. ``cache_control``: marks are known on parts and tools. ``needs_user``: someone asks.
    ``refused``: fields that only other providers, or the other protocol, have.
    ``properties``: a tool's parameters must say ``properties``. ``typed_tool``: status and code for a tool of another
    type. ``choices`` and ``thinking_choices``: modes of tool_choice, always and while it thinks.
    ``switch``: what turns thinking on; ``thinks``: models that do so unasked; ``always_thinks``: no switch helps.
    ``replay``: while it thinks, turns with tool calls must carry their reasoning.
    ``streams_thinking``: thinking only in streams. ``stream_only``: models with streams only.
    ``efforts``: words of reasoning_effort. ``budget_cap``: tokens.
    ``says_json``: json_object needs the word in the prompt. ``open_interval``: temperature and top_p inside (0, 1).
    ``caps``: the largest output by model pattern, the first match counts. ``context_tokens``: 0 is without end; with
    ``output_in_context`` the output that is asked for must fit in as well.
    ``words``: how this provider says what ``WORDS`` says for the others; ``codes``: its code for these problems.
    """

    roles: tuple[str, ...] = ROLES
    mid_system: bool = False
    parts: tuple[str, ...] = ("text", "image_url", "file", "input_audio")
    string_content: bool = False
    vision: str | None = None
    cache_control: bool = False
    needs_user: bool = False
    refused: tuple[str, ...] = ONLY_MESSAGES
    properties: bool = True
    typed_tool: int = 400
    tool_id_chars: int = 64
    choices: tuple[str, ...] = CHOICES
    thinking_choices: tuple[str, ...] = CHOICES
    switch: Switch = "effort"
    thinks: str | None = None
    always_thinks: str | None = None
    replay: bool = False
    streams_thinking: bool = False
    stream_only: str | None = None
    efforts: tuple[str, ...] = ()
    budget_cap: int = 0
    formats: tuple[str, ...] = FORMATS
    says_json: bool = True
    max_stop: int = 4
    open_interval: bool = False
    caps: Mapping[str, int] = {}
    context_tokens: int = 0
    output_in_context: bool = True
    words: Mapping[str, str] = {}
    codes: Mapping[str, str] = {}

    def say(self, problem: str, **values: object) -> str:
        """The provider's sentence for one of ``WORDS``."""
        return self.words.get(problem, WORDS[problem]).format(**values)


class MessagesRules(msgspec.Struct, frozen=True, kw_only=True):
    """One anthropic_messages endpoint.

    ``known``: all top-level fields there are; None lets those pass that no protocol has. ``thread``: the field works.
    ``system_beta``: the beta that allows the role `system` in messages; None: it is never allowed.
    ``blocks``: the kinds of block in a user's and in the assistant's content. ``vision``: models that see.
    ``tools``: beginnings of the types of tools that are not the caller's own.
    ``signatures``: `own` ones only, or any. ``leading_thinking``: see messages_turns.
    ``bad_betas``: a pattern of refused `anthropic-beta` values; None: the header is not read.
    ``no_sampling_since``: the API version from which temperature, top_p and top_k are gone.
    ``one_sampling``: models that take temperature or top_p, never both.
    ``counts``: there is a count_tokens. ``caps`` and ``context_tokens``: as in ChatRules; ``long_beta``: the beta for
    a million tokens.
    """

    known: tuple[str, ...] | None = KNOWN_TO_MESSAGES
    thread: bool = False
    system_beta: str | None = None
    user_blocks: tuple[str, ...] = ("text", "image", "document", "search_result", "tool_result")
    assistant_blocks: tuple[str, ...] = ("text", "thinking", "redacted_thinking", "tool_use")
    vision: str | None = ""
    tools: tuple[str, ...] = ()
    signatures: Signatures = "any"
    leading_thinking: bool = False
    bad_betas: str | None = "^bogus-"
    no_sampling_since: str | None = None
    one_sampling: str | None = None
    counts: bool = True
    caps: Mapping[str, int] = {}
    context_tokens: int = 0
    long_beta: str | None = None


def fits(pattern: str | None, model: str) -> bool:
    """Whether a row's pattern speaks of this model."""
    return pattern is not None and re.search(pattern, model, re.IGNORECASE) is not None


def cap_of(caps: Mapping[str, int], model: str) -> int | None:
    return next((limit for pattern, limit in caps.items() if fits(pattern, model)), None)
