"""What a Chat delta says, in whatever shape its provider says it. Pure.

Providers name the reasoning differently (DeepSeek, Qwen and GLM `reasoning_content`, vLLM `reasoning`, OpenRouter
`reasoning_details`), some two ways at once.
"""

from typing import Any

from services.router.chat_wire import Delta

Fragment = dict[str, Any]


def reasoning(delta: Delta) -> str:
    """Its reasoning, once."""
    for said in (delta.reasoning_content, delta.reasoning):
        if isinstance(said, str) and said:
            return said
    return text(delta.reasoning_details) if delta.reasoning_details else ""


def text(content: Any) -> str:
    """A text, or the texts of a list of parts. Nothing else is one."""
    if isinstance(content, str):
        return content
    return "".join(map(_part, content)) if isinstance(content, list) else ""


def fragments(delta: Delta) -> list[Fragment]:
    """Its tool calls' fragments; OpenAI's older `function_call` is the call at index 0."""
    calls = [call for call in delta.tool_calls if isinstance(call, dict)] if isinstance(delta.tool_calls, list) else []
    if isinstance(delta.function_call, dict) and not calls:
        return [{"index": 0, "function": delta.function_call}]
    return calls


def _part(part: Any) -> str:
    found = (part.get("text") or part.get("refusal")) if isinstance(part, dict) else part
    return found if isinstance(found, str) else ""
