"""What one provider's endpoint takes and wants, as data: a row per provider and protocol, and what a model changes.

A vendor's habit is a value here, never an ``if`` with the vendor's name in it.
"""

from typing import Final, Literal

import msgspec

from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol

ToolChoice = Literal["auto", "none", "required", "function"]
Format = Literal["text", "json_object", "json_schema"]
ThinkingStyle = Literal["none", "deepseek", "qwen", "glm", "effort", "budget", "adaptive"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Replay = Literal["none", "tool_turns", "all"]
MidSystem = Literal["reminder", "keep", "hoist"]
StreamOnly = Literal["never", "thinking", "always"]
ErrorKind = Literal["account", "overloaded", "rate", "context", "invalid", "failed"]

TOOL_CHOICES: Final[tuple[ToolChoice, ...]] = ("auto", "none", "required", "function")
FORMATS: Final[tuple[Format, ...]] = ("text", "json_object", "json_schema")
EFFORTS: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
THINKING_STYLES: Final[dict[Protocol, tuple[ThinkingStyle, ...]]] = {
    OPENAI_CHAT: ("none", "deepseek", "qwen", "glm", "effort"),
    ANTHROPIC_MESSAGES: ("none", "adaptive", "deepseek", "budget"),
}


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One endpoint's rules. The defaults are those of a plain OpenAI-compatible (or Anthropic-compatible) server.

    Content
      ``vision``: images are understood; else a line of text stands in their place.
      ``file_parts``: `file` parts (openai_chat) or `document` blocks (anthropic_messages) are understood.
      ``string_content``: message content must be one string, unless it holds an image.
      ``cache_control``: cache marks on content are understood.
      ``mid_system``: what becomes of a system message after the first turn: a `<system-reminder>` in the user's turn,
      left where it is, or moved up to the first.
      ``developer_role``: the role is known; else it becomes `system`.
      ``prefill``: a last message of the assistant is taken and continued.
      ``billing_header``: Claude Code's attribution block in the system prompt is wanted; else it is left out, because
      it differs between conversations and so spoils the provider's cache.
    Tools
      ``tool_choices``: the modes that are taken; ``thinking_tool_choices``: those that are taken while it thinks.
      ``parallel_tool_calls``: the switch is known. ``strict_tools``: `strict` on a tool is known.
      ``tool_stream``: arguments are streamed only when `tool_stream: true` is sent.
      ``tool_id_chars``: how long a tool call's id may be.
    Sampling and form
      ``max_stop``: how many stop sequences are taken. ``top_k``: the field is known.
      ``max_temperature``: what is above is brought down to it. ``open_interval_sampling``: temperature and top_p must
      lie inside [0.01, 0.99]. ``one_of_temperature_top_p``: never both.
      ``formats``: the kinds of `response_format` (openai_chat), or whether `output_config.format` takes a JSON schema.
      ``cap_field``: the name of the output cap. ``user_field``: the caller's user id is passed on, hashed.
      ``stream_only``: when a plain request has to be made as a stream.
    Thinking
      ``thinking``: how it is switched. openai_chat: `deepseek`, `glm` (`thinking.type`), `qwen` (`enable_thinking`,
      `thinking_budget`), `effort` (`reasoning_effort`). anthropic_messages: `adaptive` (with
      `output_config.effort`), `deepseek` (enabled, with effort), `budget` (enabled, with `budget_tokens`).
      ``thinks_by_default``: it thinks when the request says nothing. ``thinking_when_absent``: whether that is left to
      the provider or switched off.
      ``efforts``: the words that are known, weakest first; none: there is no such field.
      ``budget_cap``: the largest thinking budget, in tokens.
      ``reasoning_replay``: which of the assistant's earlier turns must carry their `reasoning_content`.
      ``unsigned_thinking``: thinking blocks of foreign or no signature are taken.
      ``think_tags``: thinking comes as `<think>…</think>` at the head of the text.
    Pass-through and errors
      ``drop_fields``: top-level fields that this host refuses.
      ``betas``: prefixes of the `anthropic-beta` values that are passed on; None: all of them.
      ``errors``: what an error code of this provider means; a key of several words is looked for in the message.
    """

    vision: bool = False
    file_parts: bool = False
    string_content: bool = False
    cache_control: bool = False
    mid_system: MidSystem = "reminder"
    developer_role: bool = False
    prefill: bool = True
    billing_header: bool = False
    tool_choices: tuple[ToolChoice, ...] = TOOL_CHOICES
    thinking_tool_choices: tuple[ToolChoice, ...] = TOOL_CHOICES
    parallel_tool_calls: bool = True
    strict_tools: bool = False
    tool_stream: bool = False
    tool_id_chars: int = 64
    max_stop: int = 4
    top_k: bool = False
    max_temperature: float = 2.0
    open_interval_sampling: bool = False
    one_of_temperature_top_p: bool = False
    formats: tuple[Format, ...] = FORMATS
    cap_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    user_field: bool = False
    stream_only: StreamOnly = "never"
    thinking: ThinkingStyle = "none"
    thinks_by_default: bool = False
    thinking_when_absent: Literal["provider", "off"] = "provider"
    efforts: tuple[Effort, ...] = ()
    budget_cap: int | None = None
    reasoning_replay: Replay = "none"
    unsigned_thinking: bool = True
    think_tags: bool = False
    drop_fields: tuple[str, ...] = ()
    betas: tuple[str, ...] | None = ()
    errors: dict[str, ErrorKind] = {}


GENERIC: Final = Profile()
