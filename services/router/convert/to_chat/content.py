"""Content blocks as content parts. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest, UnsupportedParameter
from services.router.convert.to_chat import wire
from services.router.convert.to_chat.wire import Block

Part = dict[str, Any]

NO_IMAGES: Final = "[image omitted: this model does not accept images]"
DUMP_BYTES: Final = 2000
MARK: Final = {"type": "ephemeral"}  # a `ttl` is Anthropic's own
SILENT: Final = frozenset({"thinking", "redacted_thinking", "server_tool_use", "tool_addition", "tool_removal"})
SHOWN: Final = ("title", "url", "text", "stdout", "stderr")


def parts(block: Block, raw: Raw, profile: Profile) -> list[Part]:
    """What one block becomes: none, one or several parts. The last of them keeps the block's cache mark, where the
    profile knows such."""
    found = _plain(block, raw, profile)
    if found and marks(block.cache_control, profile):
        found[-1]["cache_control"] = MARK
    return found


def _plain(block: Block, raw: Raw, profile: Profile) -> list[Part]:
    match block.type:
        case "text":
            return text(spoken(block.text))
        case "image":
            return _image(block.source, profile) or text(_dump(raw))
        case "document":
            return _document(block, raw, profile)
        case "search_result":
            return text("\n".join(_strings(block.title, block.source, _inner_text(block))))
        case "tool_reference":
            return text(f"Tool loaded: {block.tool_name}") if isinstance(block.tool_name, str) else []
        case _:
            return _unknown(block, raw)


def _unknown(block: Block, raw: Raw) -> list[Part]:
    """Never an exception: a client's history may hold whatever a server of another kind put there."""
    kind = block.type if isinstance(block.type, str) else ""
    if kind in SILENT:
        return []
    if kind.endswith("_tool_result") or kind == "compaction":
        return text(_visible(block) or _dump(raw))
    return text(_dump(raw))


def text(value: str) -> list[Part]:
    """Empty text is no part: providers refuse it."""
    return [{"type": "text", "text": value}] if value else []


def spoken(value: Any) -> str:
    """A text field; null is empty (fuergaosi233/claude-code-proxy#6)."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest("messages: text must be a string", param="messages")
    return value


def marks(mark: Any, profile: Profile) -> bool:
    """Whether a cache mark is kept."""
    return profile.cache_control and not profile.string_content and isinstance(mark, dict)


def joined(found: list[Part], profile: Profile) -> str | list[Part]:
    """The content of a message: one string where that says the same, or where the provider wants no parts."""
    texts = [part["text"] for part in found if part["type"] == "text"]
    if len(texts) == len(found) and (profile.string_content or (len(found) == 1 and "cache_control" not in found[0])):
        return "\n\n".join(texts)
    return found


def _image(source: Any, profile: Profile) -> list[Part]:
    """None for a source that nobody knows. An address is handed on, never fetched. A text in the image's place is no
    error: clients send images inside histories, and would be refused ever after."""
    if not profile.vision:
        return text(NO_IMAGES)
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return [{"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}]
        case {"type": "url", "url": str(url)}:
            return [{"type": "image_url", "image_url": {"url": url}}]
        case {"type": "file"}:
            raise UnsupportedParameter("image by file_id is not supported by this model", param="messages")
        case _:
            return []


def _document(block: Block, raw: Raw, profile: Profile) -> list[Part]:
    match block.source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return [_file(block.title, kind, data, profile)]
        case {"type": "text", "data": str(data)}:
            return text("\n".join([*_strings(block.title, block.context), data]))
        case {"type": "content", "content": inner}:
            return text("\n".join(_strings(block.title, block.context))) + _inside(inner, profile)
        case {"type": "url", "url": str(url)}:
            return [_omitted(url, block.title)]
        case {"type": "file"}:
            raise UnsupportedParameter("document by file_id is not supported by this model", param="messages")
        case _:
            return text(_dump(raw))


def _file(title: Any, kind: str, data: str, profile: Profile) -> Part:
    if not profile.file_parts:
        return _omitted(kind, title)
    name = title if isinstance(title, str) and title else "document.pdf"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{data}"}}


def _omitted(what: str, title: Any) -> Part:
    return {"type": "text", "text": f"[document omitted: {', '.join([what, *_strings(title)])}]"}


def _inside(inner: Any, profile: Profile) -> list[Part]:
    """The text and the images of a document that is made of blocks."""
    if isinstance(inner, str):
        return text(inner)
    found: list[Part] = []
    for item in inner if isinstance(inner, list) else ():
        match item:
            case {"type": "text", "text": str(words)}:
                found += text(words)
            case {"type": "image", "source": source}:
                found += _image(source, profile)
    return found


def _strings(*values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str) and value]


def _inner_text(block: Block) -> str:
    """The texts inside a block's `content`, each on lines of its own."""
    return "\n".join(_shown(_content(block), ("text",)))


def _visible(block: Block) -> str:
    """What a person would see of a server tool's result; encrypted content is not."""
    found = _content(block)
    return found if isinstance(found, str) else "\n".join(_shown(found, SHOWN))


def _content(block: Block) -> Any:
    return wire.read(wire.anything, block.content, "messages") if wire.given(block.content) else None


def _shown(found: Any, keys: tuple[str, ...]) -> Iterable[str]:
    for item in found if isinstance(found, list) else [found]:
        if isinstance(item, dict):
            yield from _strings(*(item.get(key) for key in keys))


def _dump(raw: Raw) -> str:
    return msgspec.json.format(bytes(raw), indent=-1)[:DUMP_BYTES].decode(errors="ignore")
