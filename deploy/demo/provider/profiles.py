"""What differs between providers, as data: one row each, named by the first part of the path they are called under."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from deploy.demo.provider.rules import (
    KNOWN_TO_MESSAGES,
    ONLY_MESSAGES,
    ChatRules,
    MessagesRules,
)

ErrorBody = Literal["plain", "with_request_id", "numbered"]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's habits.

    ``hit_and_miss``: usage also says ``prompt_cache_hit_tokens`` and ``prompt_cache_miss_tokens``.
    ``cache_write``: the detail of ``usage`` that tells cache writes, None when there is no such figure.
    ``opens_with_reasoning``: the first chunk of a thinking answer carries ``reasoning_content: ""``.
    ``null_phases``: each chunk names the field of the other phase as null.
    ``wants_version``: `/v1/messages` refuses a request without ``anthropic-version``.
    ``runs_on``: when the caller hangs up, the answer is made, and billed, to its end.
    ``tool_stream``: arguments are streamed only to those who send ``tool_stream: true``.
    ``codes``: the ``code`` of an openai_chat error by status.
    ``chat`` and ``messages``: what a request has to be like.
    """

    hit_and_miss: bool = False
    cache_write: str | None = None
    opens_with_reasoning: bool = False
    null_phases: bool = False
    wants_version: bool = True
    runs_on: bool = True
    tool_stream: bool = False
    error_body: ErrorBody = "plain"
    codes: Mapping[int, str] = {}
    chat: ChatRules = ChatRules()
    messages: MessagesRules = MessagesRules()


_OPENAI_CODES: Final = {401: "invalid_api_key", 402: "insufficient_quota", 404: "model_not_found", 429: "rate_limit"}

_OF_OTHERS: Final = (*ONLY_MESSAGES, "top_k", "thinking", "enable_thinking", "thinking_budget", "tool_stream")
_WITHOUT_CODE: Final = {"context": "context_length_exceeded"}
_PLAIN_ROLES: Final = ("system", "user", "assistant", "tool")

# A strict server of either protocol that nobody has written a row for.
USUAL: Final = Profile(
    cache_write="cache_write_tokens",
    codes=_OPENAI_CODES,
    chat=ChatRules(
        vision="vision|vl|4o|omni|gpt-[5-9]",
        refused=_OF_OTHERS,
        thinks="reasoner|thinking|qwq",
        efforts=("none", "minimal", "low", "medium", "high", "xhigh"),
        codes=_WITHOUT_CODE,
    ),
)

_DEEPSEEK: Final = Profile(
    hit_and_miss=True,
    opens_with_reasoning=True,
    wants_version=False,
    runs_on=False,
    codes=dict.fromkeys((400, 401, 402, 422, 429), "invalid_request_error"),
    chat=ChatRules(
        roles=_PLAIN_ROLES,
        parts=("text", "image_url"),
        string_content=True,
        vision="vision",
        refused=(*ONLY_MESSAGES, "enable_thinking", "thinking_budget", "tool_stream"),
        properties=False,
        thinking_choices=("auto", "none"),
        switch="deepseek",
        thinks="",
        replay=True,
        efforts=("minimal", "low", "medium", "high", "xhigh", "max", "ultra"),
        formats=("text", "json_object"),
        max_stop=16,
        caps={"": 393_216},
        context_tokens=1_048_576,
        words={
            "role": "Failed to deserialize the JSON body into the target type: {place}.role: unknown variant `{role}`, "
            "expected one of `system`, `user`, `assistant`, `tool`",
            "part": "Failed to deserialize the JSON body into the target type: {place}: unknown variant `{part}`, "
            "expected `text`",
            "sequence": "Failed to deserialize the JSON body into the target type: {place}.content: invalid type: "
            "sequence, expected a string",
            "unanswered": "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. (insufficient tool messages following tool_calls message)",
            "orphan": "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'",
            "format": "This response_format type is unavailable now",
            "cap": "Invalid max_tokens value, the valid range of max_tokens is [1, {limit}]",
        },
    ),
    messages=MessagesRules(
        known=None,
        user_blocks=("text", "image", "tool_result"),
        assistant_blocks=(
            *("text", "thinking", "redacted_thinking", "tool_use"),
            *("server_tool_use", "web_search_tool_result"),
        ),
        vision="vision",
        tools=("web_search",),
        bad_betas=None,
        counts=False,
        caps={"": 393_216},
        context_tokens=1_048_576,
    ),
)

_QWEN_SEES: Final = "vl|omni|qvq|qwen3[.][5-9]"
_QWEN_CAPS: Final = {"turbo": 16_384, "qwen-max": 8_192, "qwen3[.][5-9]": 65_536, "qwen": 32_768}
_QWEN_WORDS: Final = {
    "role": "{role} is not one of ['system', 'assistant', 'user', 'tool', 'function'] - '{place}.role'",
    "choice": "The tool_choice parameter does not support {choice}.",
    "thinking_choice": "The tool_choice parameter does not support being set to required or object in thinking mode",
    "cap": "Range of max_tokens should be [1, {limit}]",
    "context": "Range of input length should be [1, {limit}]",
}

_QWEN: Final = Profile(
    cache_write="cache_creation_input_tokens",
    null_phases=True,
    error_body="with_request_id",
    codes={
        400: "invalid_parameter_error",
        401: "invalid_api_key",
        402: "Arrearage",
        404: "model_not_found",
        429: "limit_requests",
        500: "internal_error",
    },
    chat=ChatRules(
        roles=(*_PLAIN_ROLES, "function"),
        parts=("text", "image_url", "input_audio", "video", "video_url"),
        vision=_QWEN_SEES,
        cache_control=True,
        needs_user=True,
        refused=(*ONLY_MESSAGES, "thinking", "tool_stream"),
        thinking_choices=("auto", "none"),
        switch="qwen",
        thinks="thinking|qwq|qvq",
        always_thinks="thinking|qwq|qvq",
        streams_thinking=True,
        stream_only="qwq|qvq|omni",
        efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        budget_cap=81_920,
        caps=_QWEN_CAPS,
        context_tokens=10_000_000,
        output_in_context=False,
        words={name: f"<400> InternalError.Algo.InvalidParameter: {words}" for name, words in _QWEN_WORDS.items()},
    ),
    messages=MessagesRules(known=None, vision=_QWEN_SEES, counts=False, caps=_QWEN_CAPS, context_tokens=10_000_000),
)

_GLM_SEES: Final = "[0-9]v"
_GLM_CAPS: Final = {"glm-4-": 4_095, "glm": 131_072}

_GLM: Final = Profile(
    tool_stream=True,
    error_body="numbered",
    codes={400: "1210", 401: "1000", 402: "1113", 404: "1211", 422: "1210", 429: "1302", 500: "500", 503: "1305"},
    chat=ChatRules(
        roles=_PLAIN_ROLES,
        parts=("text", "image_url", "video_url", "file_url"),
        vision=_GLM_SEES,
        needs_user=True,
        refused=(*ONLY_MESSAGES, "enable_thinking", "thinking_budget", "top_k"),
        typed_tool=422,
        choices=("auto",),
        thinking_choices=("auto",),
        switch="glm",
        thinks="glm-(4[.][7-9]|[5-9])",
        efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        formats=("text", "json_object"),
        says_json=False,
        max_stop=1,
        open_interval=True,
        caps=_GLM_CAPS,
        context_tokens=1_000_000,
        output_in_context=False,
        words={
            "role": "Invalid API parameter: the role '{role}' of {place} is not known.",
            "typed_tool": "Invalid API parameter: tools of type '{type}' are not supported.",
            "choice": "Invalid API parameter: tool_choice only supports auto.",
            "cap": "Invalid API parameter: max_tokens must be in [1, {limit}].",
            "context": "Prompt exceeds max length",
            "temperature": "Invalid API parameter: {field} must be inside the open interval (0.0, 1.0).",
        },
        codes={"context": "1261"},
    ),
    messages=MessagesRules(known=None, vision=_GLM_SEES, counts=False, caps=_GLM_CAPS, context_tokens=1_000_000),
)

_ANTHROPIC: Final = msgspec.structs.replace(
    USUAL,
    messages=MessagesRules(
        known=KNOWN_TO_MESSAGES,
        thread=True,
        system_beta="mid-conversation-system-2026-04-07",
        user_blocks=("text", "image", "document", "search_result", "tool_result", "container_upload"),
        assistant_blocks=(
            *("text", "thinking", "redacted_thinking", "tool_use", "document", "server_tool_use", "mcp_tool_use"),
            *("web_search_tool_result", "web_fetch_tool_result", "mcp_tool_result", "code_execution_tool_result"),
            *("bash_code_execution_tool_result", "tool_search_tool_result", "compaction"),
        ),
        tools=(
            *("web_search_", "web_fetch_", "code_execution_", "tool_search_", "advisor_", "mcp_toolset", "bash_"),
            *("text_editor_", "memory_", "computer_"),
        ),
        signatures="own",
        leading_thinking=True,
        no_sampling_since="2026-10-21",
        one_sampling="claude-.*-4-[1-9](?![0-9])",
        caps={"opus-4-[6-9]": 128_000, "claude-3": 8_192, "claude": 64_000},
        context_tokens=200_000,
        long_beta="context-1m-2025-08-07",
    ),
)

_BY_NAME: Final = {
    "alibaba": _QWEN,
    "anthropic": _ANTHROPIC,
    "dashscope": _QWEN,
    "deepseek": _DEEPSEEK,
    "glm": _GLM,
    "qwen": _QWEN,
    "zai": _GLM,
    "zhipu": _GLM,
}


def profile_of(provider: str) -> Profile:
    """The provider's row, or that of a strict server of the plain protocols."""
    return _BY_NAME.get(provider, USUAL)
