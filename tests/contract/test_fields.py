"""`FIELDS.md` names every field, kind and word of both SDKs, and nothing that neither of them knows."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import anthropic.types as messages
import pytest
from anthropic.types import beta
from anthropic.types.beta.message_create_params import MessageCreateParamsStreaming as BetaRequest
from anthropic.types.message_create_params import MessageCreateParamsStreaming as Request
from openai.types import chat
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as PlainChat
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming as StreamedChat

import services.router.convert
from tests.fixtures.sdk_shapes import dotted, fields_of, inside, kinds_of, words_of

DOCUMENT: Final = Path(services.router.convert.__path__[0]) / "FIELDS.md"
FATES: Final = {"carried", "adapted", "dropped", "refused"}
NAME: Final = re.compile(r"`([^`]+)`(?: \((removed|vendor)\))?")

Names = set[str]


class Row(NamedTuple):
    """One name of a table; ``mark`` is why no SDK has it."""

    name: str
    mark: str
    fate: str


def _request() -> dict[str, Names]:
    thinking = kinds_of(inside(Request, "thinking"), inside(BetaRequest, "thinking"))
    roles = words_of(*(inside(kind, "role") for kind in (messages.MessageParam, *_turns())))
    return {
        "top level": fields_of(Request, BetaRequest),
        "output_config": fields_of(inside(Request, "output_config"), inside(BetaRequest, "output_config")),
        "efforts": words_of(inside(BetaRequest, "output_config", "effort")),
        "formats": set(kinds_of(inside(BetaRequest, "output_config", "format"))),
        "metadata": fields_of(inside(Request, "metadata"), inside(BetaRequest, "metadata")),
        "thinking": set(thinking) | dotted(thinking, *thinking),
        "messages": fields_of(messages.MessageParam, *_turns()) | {f"role={role}" for role in roles},
        **_blocks_asked(),
        **_tools_asked(),
    }


def _turns() -> tuple[type, ...]:
    return beta.BetaUserMessageParam, beta.BetaAssistantMessageParam, beta.BetaSystemMessageParam


def _blocks_asked() -> dict[str, Names]:
    results = inside(messages.ToolResultBlockParam, "content"), inside(beta.BetaToolResultBlockParam, "content")
    blocks = kinds_of(messages.ContentBlockParam, beta.BetaContentBlockParam, *results)
    images = inside(messages.ImageBlockParam, "source"), inside(beta.BetaImageBlockParam, "source")
    documents = inside(messages.DocumentBlockParam, "source"), inside(beta.BetaRequestDocumentBlockParam, "source")
    known = ("text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result")
    return {
        "content blocks": set(blocks),
        "fields of content blocks": dotted(blocks, *known, "tool_reference"),
        "sources": {f"image.{kind}" for kind in kinds_of(*images)}
        | {f"document.{kind}" for kind in kinds_of(*documents)},
    }


def _tools_asked() -> dict[str, Names]:
    choices = kinds_of(inside(Request, "tool_choice"), inside(BetaRequest, "tool_choice"))
    return {
        "tools": set(kinds_of(messages.ToolUnionParam, beta.BetaToolUnionParam)),
        "fields of a custom tool": fields_of(messages.ToolParam, beta.BetaToolParam),
        "tool_choice": set(choices) | dotted(choices, *choices),
    }


def _message() -> dict[str, Names]:
    blocks = kinds_of(messages.ContentBlock, beta.BetaContentBlock)
    events = kinds_of(messages.RawMessageStreamEvent, beta.BetaRawMessageStreamEvent)
    ended = inside(beta.BetaRawMessageDeltaEvent, "delta"), inside(messages.RawMessageDeltaEvent, "delta")
    usages = messages.Usage, messages.MessageDeltaUsage, beta.BetaUsage, beta.BetaMessageDeltaUsage
    return {
        "message": fields_of(messages.Message, beta.BetaMessage, *ended),
        "content blocks": set(blocks),
        "fields of content blocks": dotted(blocks, "text", "thinking", "redacted_thinking", "tool_use"),
        "events": set(events) | dotted(events, "message_delta"),
        "deltas": set(kinds_of(messages.RawContentBlockDelta, beta.BetaRawContentBlockDelta)),
        "stop reasons": words_of(messages.StopReason, beta.BetaStopReason),
        "usage": fields_of(*usages),
    }


def _chat_request() -> dict[str, Names]:
    roles = kinds_of(chat.ChatCompletionMessageParam, by="role")
    answered = inside(chat.ChatCompletionAssistantMessageParam, "content")
    parts = kinds_of(chat.ChatCompletionContentPartParam, answered)
    calls = kinds_of(inside(chat.ChatCompletionAssistantMessageParam, "tool_calls"))
    function = fields_of(inside(chat.ChatCompletionFunctionToolParam, "function"))
    choice = inside(PlainChat, "tool_choice")
    return {
        "top level": fields_of(PlainChat, StreamedChat),
        "stream_options": fields_of(inside(StreamedChat, "stream_options")),
        "service_tier": words_of(inside(PlainChat, "service_tier")),
        "messages": set(roles) | dotted(roles, *roles),
        "content parts": set(parts) | dotted(parts, "text", "image_url", "file", "refusal"),
        "tools": set(kinds_of(inside(PlainChat, "tools"))) | {f"function.{name}" for name in function},
        "tool calls": set(calls) | dotted(calls, *calls),
        "tool_choice": words_of(choice) | set(kinds_of(choice)),
        "response_format": set(kinds_of(inside(PlainChat, "response_format"))),
        "reasoning efforts": words_of(inside(PlainChat, "reasoning_effort")),
    }


def _chat_answer() -> dict[str, Names]:
    plain, streamed = inside(chat.ChatCompletion, "choices"), inside(chat.ChatCompletionChunk, "choices")
    calls = inside(plain, "message", "tool_calls")
    fragment = inside(streamed, "delta", "tool_calls")
    usage = inside(chat.ChatCompletion, "usage")
    details = ("prompt_tokens_details", "completion_tokens_details")
    return {
        "completion and chunk": fields_of(chat.ChatCompletion, chat.ChatCompletionChunk),
        "choice": fields_of(plain, streamed),
        "message and delta": fields_of(inside(plain, "message"), inside(streamed, "delta")),
        "tool calls": set(kinds_of(calls))
        | fields_of(fragment)
        | {f"function.{name}" for name in fields_of(inside(fragment, "function"))},
        "finish reasons": words_of(inside(plain, "finish_reason"), inside(streamed, "finish_reason")),
        "usage": fields_of(usage) | {f"{part}.{name}" for part in details for name in fields_of(inside(usage, part))},
    }


def shapes() -> dict[str, Names]:
    """What the SDKs know, by the heading under which it belongs."""
    parts = {
        "anthropic_messages request": _request(),
        "openai_chat request": _chat_request(),
        "openai_chat answer": _chat_answer(),
        "anthropic_messages answer": _message(),
    }
    return {f"{place}: {title}": names for place, tables in parts.items() for title, names in tables.items()}


def tables(text: str) -> dict[str, list[Row]]:
    """The document's tables by their headings."""
    found: dict[str, list[Row]] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        cells = [line.split("|")[1:4] for line in body.splitlines() if line.startswith("| `")]
        found[title] = [Row(name, mark, fate.strip()) for names, fate, _ in cells for name, mark in NAME.findall(names)]
    return found


def complaints(text: str, known: Mapping[str, Names]) -> list[str]:
    """Everything that the document and the SDKs do not agree about."""
    written = tables(text)
    found = [f"{title}: there is no such table" for title in known.keys() - written.keys()]
    found += [f"{title}: the test knows no such table" for title in written.keys() - known.keys()]
    for title in known.keys() & written.keys():
        found += [f"{title}: {reason}" for reason in _of_table(written[title], known[title])]
    return sorted(found)


def _of_table(rows: list[Row], known: Names) -> list[str]:
    names = [row.name for row in rows]
    found = [f"{name} has no row" for name in known - set(names)]
    found += [f"{name} has two rows" for name in set(names) if names.count(name) > 1]
    found += [f"{row.name}: no SDK knows it, and nothing says why it is here" for row in rows if _unknown(row, known)]
    found += [f"{row.name}: an SDK knows it, so it is not {row.mark}" for row in rows if row.mark and row.name in known]
    return found + [f"{row.name}: {row.fate!r} is no fate" for row in rows if row.fate not in FATES]


def _unknown(row: Row, known: Names) -> bool:
    return row.name not in known and not row.mark


@pytest.fixture(scope="module")
def known() -> dict[str, Names]:
    return shapes()


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_every_field_of_both_sdks_has_a_row_and_every_row_a_field(text: str, known: dict[str, Names]) -> None:
    assert complaints(text, known) == []


def test_the_sdks_were_really_looked_into(known: dict[str, Names]) -> None:
    assert {title: len(names) for title, names in known.items() if len(names) < 1} == {}
    assert {"thread", "context_management", "max_tokens"} <= known["anthropic_messages request: top level"]
    assert {"compaction", "text", "browser_state"} <= known["anthropic_messages request: content blocks"]
    assert {"prediction", "stream_options"} <= known["openai_chat request: top level"]
    assert sum(map(len, known.values())) > 350


@pytest.mark.parametrize(
    "title",
    ["anthropic_messages request: top level", "openai_chat answer: finish reasons", "openai_chat request: tools"],
)
def test_something_new_in_an_sdk_is_a_complaint(text: str, known: dict[str, Names], title: str) -> None:
    newer = {**known, title: known[title] | {"novelty"}}
    assert complaints(text, newer) == [f"{title}: novelty has no row"]


def test_a_row_for_what_an_sdk_gave_up_is_a_complaint_until_it_is_marked(text: str, known: dict[str, Names]) -> None:
    title = "openai_chat request: top level"
    older = {**known, title: known[title] - {"seed"}}
    assert complaints(text, older) == [f"{title}: seed: no SDK knows it, and nothing says why it is here"]
    assert complaints(text.replace("| `seed` |", "| `seed` (removed) |"), older) == []


def test_a_mark_on_what_an_sdk_knows_is_a_complaint(text: str, known: dict[str, Names]) -> None:
    marked = text.replace("| `seed` |", "| `seed` (vendor) |")
    assert complaints(marked, known) == ["openai_chat request: top level: seed: an SDK knows it, so it is not vendor"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("| `seed` | dropped |", "| `sed` | dropped |", "seed has no row"),
        ("| `seed` | dropped |", "| `seed`, `store` | dropped |", "store has two rows"),
        ("| `seed` | dropped |", "| `seed` | lost |", "seed: 'lost' is no fate"),
        ("### openai_chat request: tools\n", "### openai_chat request: tool\n", "there is no such table"),
    ],
)
def test_a_slip_in_the_document_is_a_complaint(
    text: str, known: dict[str, Names], old: str, new: str, reason: str
) -> None:
    assert text.count(old) == 1
    assert any(reason in complaint for complaint in complaints(text.replace(old, new), known))


def test_a_field_that_is_not_honoured_says_so_and_one_that_is_says_how(text: str) -> None:
    silent = [line for line in text.splitlines() if re.match(r"\| `.*\| (adapted) \|\s*\|$", line)]
    assert silent == []
