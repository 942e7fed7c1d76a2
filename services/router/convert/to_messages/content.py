"""A message's content as blocks: text, images, files; also where the caller wrote anthropic_messages blocks. Pure."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest, UnsupportedParameter
from services.router.convert.to_messages import cache
from services.router.convert.to_messages.fields import decoded
from services.router.convert.to_messages.wire import Content, Part, part

Block = dict[str, Any]
IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
ALIASES: Final = {"image/jpg": "image/jpeg"}
PDF: Final = "application/pdf"
NO_IMAGES: Final = "[image omitted: this model does not accept images]"
LONGEST_DUMP: Final = 2000  # bytes of a part that has no meaning here; the model gets to see what it was


def parts(content: Content, at: str) -> Iterator[tuple[Part, msgspec.Raw | None, str]]:
    """Each part, its bytes, and where it is. A string is one part of text."""
    if isinstance(content, str):
        yield Part(type="text", text=content), None, at
        return
    for number, raw in enumerate(content or ()):
        where = f"{at}[{number}]"
        found = decoded(raw, part, where)
        yield (Part(type="text", text=found) if isinstance(found, str) else found), raw, where


def text(said: object) -> list[Block]:
    """A block, or none: Anthropic refuses text "must contain non-whitespace text"."""
    if isinstance(said, str) and said and not said.isspace():
        return [{"type": "text", "text": said}]
    return []


def blocks(content: Content, profile: Profile, at: str) -> list[Block]:
    """Of a user or a tool. Raises InvalidRequest for what no provider of this protocol takes."""
    return [block for found, raw, where in parts(content, at) for block in of_part(found, raw, profile, where)]


def of_part(found: Part, raw: msgspec.Raw | None, profile: Profile, at: str) -> list[Block]:
    made = _made(found, raw, profile, at)
    if made and profile.cache_control:
        cache.mark(made[-1], found.cache_control, found.prompt_cache_breakpoint)
    return made


def texts(content: Content, profile: Profile, at: str) -> list[Block]:
    """Of a system message or an assistant, which say nothing but text."""
    made: list[Block] = []
    for found, raw, where in parts(content, at):
        made += spoken(found, raw, profile, where)
    return made


def spoken(found: Part, raw: msgspec.Raw | None, profile: Profile, at: str) -> list[Block]:
    if isinstance(found.refusal, str) and not isinstance(found.text, str):
        return text(found.refusal)
    return of_part(found, raw, msgspec.structs.replace(profile, vision=False, file_parts=False), at)


def _made(found: Part, raw: msgspec.Raw | None, profile: Profile, at: str) -> list[Block]:
    if isinstance(found.text, str):
        return text(found.text)
    if found.type == "image_url":
        return [_image(found.image_url, at)] if profile.vision else text(NO_IMAGES)
    if found.type == "file":
        return _file(found.file, profile, at)
    if found.type == "input_audio":
        raise UnsupportedParameter("This model does not take audio.", param=at)
    if found.type in ("image", "document"):
        return _native(found, profile, at)
    return text(_dump(raw))


def _image(said: object, at: str) -> Block:
    url = said.get("url") if isinstance(said, dict) else said
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, data = _data_uri(url, f"{at}.image_url")
    if media_type not in IMAGE_TYPES:
        raise InvalidRequest(
            f"Images of type {media_type[:60]!r} are not taken; send JPEG, PNG, GIF or WebP.", param=f"{at}.image_url"
        )
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _file(said: object, profile: Profile, at: str) -> list[Block]:
    """`file_data` is a data URI; `file_id` is known only to the provider where it was uploaded."""
    file: dict[str, Any] = said if isinstance(said, dict) else {}
    if file.get("file_data") is None:
        raise InvalidRequest("Send the file itself as file_data; files by id are not kept here.", param=f"{at}.file")
    media_type, data = _data_uri(file["file_data"], f"{at}.file.file_data")
    title = file.get("filename")
    if media_type.startswith("image/"):
        return [_image(file["file_data"], at)] if profile.vision else text(NO_IMAGES)
    if media_type == PDF and profile.file_parts:
        return [_document({"type": "base64", "media_type": PDF, "data": data}, title)]
    if not media_type.startswith("text/"):
        return _omitted(media_type, title)
    return _text_file(_decoded_text(data, f"{at}.file.file_data"), title, profile)


def _text_file(said: str, title: object, profile: Profile) -> list[Block]:
    if not profile.file_parts or not text(said):
        return text(f"{title}\n{said}" if isinstance(title, str) else said)
    return [_document({"type": "text", "media_type": "text/plain", "data": said}, title)]


def _native(found: Part, profile: Profile, at: str) -> list[Block]:
    """An anthropic_messages image or document, with a source that holds all of it or says where it is."""
    source: dict[str, Any] = found.source if isinstance(found.source, dict) else {}
    names = {"base64": ("type", "media_type", "data"), "url": ("type", "url"), "text": ("type", "media_type", "data")}
    kept = {name: source.get(name) for name in names.get(str(source.get("type")), ())}
    if not kept or not all(isinstance(value, str) for value in kept.values()):
        raise InvalidRequest(f"{at}.source must be base64 data, text or a URL.", param=f"{at}.source")
    if found.type == "image":
        return [{"type": "image", "source": kept}] if profile.vision else text(NO_IMAGES)
    if profile.file_parts:
        return [_document(kept, found.title)]
    if kept["type"] == "text":
        return _text_file(str(kept["data"]), found.title, profile)
    return _omitted(str(kept.get("media_type") or kept.get("url")), found.title)


def _document(source: Block, title: object) -> Block:
    named = {"title": title} if isinstance(title, str) and title else {}
    return {"type": "document", "source": source, **named}


def _omitted(what: str, title: object) -> list[Block]:
    """Not an error: it would stay in the history and spoil the whole conversation."""
    return text(f"[document omitted: {what[:200]}{f', {title}' if isinstance(title, str) and title else ''}]")


def _data_uri(uri: object, at: str) -> tuple[str, str]:
    """Media type and base64 data. Raises InvalidRequest."""
    head, _, data = uri.partition(",") if isinstance(uri, str) else ("", "", "")
    scheme, _, rest = head.partition(":")
    media_type, *options = rest.lower().split(";")
    if scheme.lower() != "data" or "base64" not in options or not data:
        raise InvalidRequest(f"{at} must be a URL or a data URI with base64 data.", param=at)
    return ALIASES.get(media_type, media_type), data


def _decoded_text(data: str, at: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{at} is not text in base64.", param=at) from error


def _dump(raw: msgspec.Raw | None) -> str:
    return bytes(raw or b"")[:LONGEST_DUMP].decode("utf-8", "ignore")
