"""The rules of anthropic_messages for one content block: its kind, its keys and what is in them."""

import re
from typing import Any, Final, NamedTuple

from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import IMAGES, MessagesRules, fits
from deploy.demo.provider.signatures import is_ours

Block = dict[str, Any]
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_KEYS: Final[dict[str, frozenset[str]]] = {
    "text": frozenset(("text", "citations", "cache_control")),
    "image": frozenset(("source", "cache_control", "transformations")),
    "thinking": frozenset(("thinking", "signature")),
    "redacted_thinking": frozenset(("data",)),
    "tool_use": frozenset(("id", "name", "input", "cache_control", "caller")),
    "tool_result": frozenset(("tool_use_id", "content", "is_error", "cache_control")),
}
_IN_RESULTS: Final = ("text", "image", "document", "search_result", "tool_reference")


class Where(NamedTuple):
    """The block's place, and what may stand there."""

    place: str
    known: tuple[str, ...]
    rules: MessagesRules
    model: str


def check(block: Block, where: Where) -> None:
    """Raises Refusal."""
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in where.known:
        told = f"Input tag '{kind}' found using 'type' does not match any of the expected tags"
        raise Refusal(400, f"{where.place}: {told}: {', '.join(repr(known) for known in where.known)}")
    for field in sorted(set(block) - _KEYS.get(kind, frozenset(block)) - {"type"}):
        raise Refusal(400, f"{where.place}.{kind}.{field}: Extra inputs are not permitted")
    if kind in _CHECKS:
        _CHECKS[kind](block, where)


def _check_text(block: Block, where: Where) -> None:
    if not isinstance(block.get("text"), str):
        raise Refusal(400, f"{where.place}.text.text: Field required")
    if not block["text"]:
        raise Refusal(400, "messages: text content blocks must be non-empty")
    if not block["text"].strip():
        raise Refusal(400, "messages: text content blocks must contain non-whitespace text")


def _check_image(block: Block, where: Where) -> None:
    if not fits(where.rules.vision, where.model):
        raise Refusal(400, f"{where.place}.image: this model does not support image input")
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if not isinstance(source, dict) or kind not in ("base64", "url", "file"):
        raise Refusal(400, f"{where.place}.image.source: Input should be of type 'base64', 'url' or 'file'")
    if kind == "base64" and source.get("media_type") not in IMAGES:
        told = "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
        raise Refusal(400, f"{where.place}.image.source.base64.media_type: {told}")
    data = source.get({"base64": "data", "url": "url", "file": "file_id"}[str(kind)])
    if not isinstance(data, str) or not data or data.startswith("data:"):
        raise Refusal(400, f"{where.place}.image.source.{kind}: Field required")


def _check_thinking(block: Block, where: Where) -> None:
    thinking, signature = block.get("thinking"), block.get("signature")
    if not isinstance(thinking, str):
        raise Refusal(400, f"{where.place}.thinking.thinking: Field required")
    if where.rules.signatures == "own" and not isinstance(signature, str):
        raise Refusal(400, f"{where.place}.thinking.signature: Field required")
    if where.rules.signatures == "own" and not is_ours(thinking, signature):
        raise Refusal(400, f"{where.place}: Invalid `signature` in `thinking` block")


def _check_tool_use(block: Block, where: Where) -> None:
    _check_id(block.get("id"), f"{where.place}.tool_use.id")
    name = block.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 200:
        raise Refusal(400, f"{where.place}.tool_use.name: String should have at most 200 characters")
    if not isinstance(block.get("input"), dict):
        raise Refusal(400, f"{where.place}.tool_use.input: Input should be a valid dictionary")


def _check_tool_result(block: Block, where: Where) -> None:
    _check_id(block.get("tool_use_id"), f"{where.place}.tool_result.tool_use_id")
    content, is_error = block.get("content"), block.get("is_error")
    if is_error is not None and not isinstance(is_error, bool):
        raise Refusal(400, f"{where.place}.tool_result.is_error: Input should be a valid boolean")
    if is_error and not content:
        raise Refusal(400, f"{where.place}.tool_result: content cannot be empty if `is_error` is true")
    if content is None or isinstance(content, str):
        return
    place = f"{where.place}.tool_result.content"
    if not isinstance(content, list):
        raise Refusal(400, f"{place}: Input should be a valid string or a valid list")
    for n, inner in enumerate(content):
        if not isinstance(inner, dict):
            raise Refusal(400, f"{place}.{n}: Input should be a valid dictionary")
        check(inner, where._replace(place=f"{place}.{n}", known=_IN_RESULTS))


def _check_id(value: Any, place: str) -> None:
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise Refusal(400, f"{place}: String should match pattern '^[a-zA-Z0-9_-]+$'")


_CHECKS: Final = {
    "text": _check_text,
    "image": _check_image,
    "thinking": _check_thinking,
    "tool_use": _check_tool_use,
    "tool_result": _check_tool_result,
}
