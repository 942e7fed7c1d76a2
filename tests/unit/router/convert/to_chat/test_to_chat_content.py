"""What a user's message may hold beside text."""

from typing import Any

import pytest

from libs.errors import UnsupportedParameter
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, QWEN_CHAT
from tests.unit.router.convert.to_chat.asks import Json, image, messages, pdf, text, user, variant

FILES = variant(GENERIC_CHAT, file_parts=True)


def only(block: Json, profile: Any = GENERIC_CHAT) -> Any:
    """The content of the one message that holds this block."""
    (message,) = messages(user(block), profile=profile)
    return message["content"]


def test_image_base64_becomes_a_data_address() -> None:
    assert only(image("aW1n", "image/webp"), QWEN_CHAT) == [
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,aW1n"}}
    ]


def test_image_url_is_handed_on_untouched() -> None:
    source = {"type": "url", "url": "https://x.example/a.png?size=1&b=%20"}
    assert only({"type": "image", "source": source}, QWEN_CHAT) == [
        {"type": "image_url", "image_url": {"url": source["url"]}}
    ]


@pytest.mark.parametrize("source", [image()["source"], {"type": "file", "file_id": "file_1"}, None, 7])
def test_image_no_vision_is_a_line_of_text(source: object) -> None:
    assert only({"type": "image", "source": source}) == "[image omitted: this model does not accept images]"


def test_image_no_vision_keeps_the_words_around_it() -> None:
    (message,) = messages(user("See", image(), "this"), profile=DEEPSEEK_CHAT)
    assert message["content"] == "See\n\n[image omitted: this model does not accept images]\n\nthis"


def test_image_in_a_message_that_wants_strings_makes_it_parts() -> None:
    (message,) = messages(user("See", image()), profile=variant(DEEPSEEK_CHAT, vision=True))
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]


@pytest.mark.parametrize("kind", ["image", "document"])
def test_a_file_that_lies_elsewhere_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedParameter, match=f"{kind} by file_id") as refused:
        messages(user({"type": kind, "source": {"type": "file", "file_id": "file_1"}}), profile=QWEN_CHAT)
    assert refused.value.param == "messages"


def test_doc_pdf_placeholder_names_it() -> None:
    assert only(pdf(title="Report")) == "[document omitted: application/pdf, Report]"
    assert only(pdf()) == "[document omitted: application/pdf]"


@pytest.mark.parametrize(("title", "name"), [("Report.pdf", "Report.pdf"), (None, "document.pdf")])
def test_doc_pdf_file_part_where_those_are_understood(title: str | None, name: str) -> None:
    held = {"filename": name, "file_data": "data:application/pdf;base64,cGRm"}
    assert only(pdf(title=title), FILES) == [{"type": "file", "file": held}]


def test_doc_text_is_text_with_its_title() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Body"}
    assert only({"type": "document", "source": source, "title": "T", "context": "C"}) == "T\nC\nBody"
    assert only({"type": "document", "source": source}) == "Body"


def test_doc_content_is_its_text_and_images_in_place() -> None:
    inner = [text("One"), image(), {"type": "document"}, 7, text("Two")]
    found = only({"type": "document", "source": {"type": "content", "content": inner}}, QWEN_CHAT)
    assert [part["type"] for part in found] == ["text", "image_url", "text"]
    assert only({"type": "document", "source": {"type": "content", "content": "One"}}) == "One"


def test_doc_url_is_named_and_never_fetched() -> None:
    source = {"type": "url", "url": "https://x.example/a.pdf"}
    assert (
        only({"type": "document", "source": source, "title": "T"}) == "[document omitted: https://x.example/a.pdf, T]"
    )


def test_a_search_result_is_its_title_source_and_text() -> None:
    found = {
        "type": "search_result",
        "title": "T",
        "source": "https://x.example",
        "content": [text("One"), text("Two")],
    }
    assert only(found) == "T\nhttps://x.example\nOne\nTwo"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"type": "compaction", "content": "So far: a lot."}, "So far: a lot."),
        ({"type": "container_upload", "file_id": "file_1"}, '{"type":"container_upload","file_id":"file_1"}'),
        ({"type": "of 2031", "n": 1.5}, '{"type":"of 2031","n":1.5}'),
        ({"no": "type"}, '{"no":"type"}'),
        ({"type": 7}, '{"type":7}'),
        ({"type": "image", "source": {"type": "of 2031"}}, '{"type":"image","source":{"type":"of 2031"}}'),
        ({"type": "document", "source": 7}, '{"type":"document","source":7}'),
        ({"type": "mcp_tool_result", "content": [text("Done")]}, "Done"),
        ({"type": "code_execution_tool_result", "content": {"stdout": "4", "stderr": ""}}, "4"),
        ({"type": "web_fetch_tool_result", "content": {}}, '{"type":"web_fetch_tool_result","content":{}}'),
    ],
)
def test_a_block_that_nobody_knows_is_its_json(block: Json, said: str) -> None:
    assert only(block, QWEN_CHAT) == said


def test_a_block_that_nobody_knows_is_not_quoted_whole() -> None:
    assert len(only({"type": "of 2031", "data": "é" * 5000}).encode()) in (1999, 2000)


@pytest.mark.parametrize("kind", ["tool_addition", "tool_removal", "redacted_thinking", "thinking"])
def test_a_block_that_says_nothing_to_the_model_is_left_out(kind: str) -> None:
    assert messages(user({"type": kind, "data": "x"}, "Hello")) == [user("Hello")]


def test_cache_marks_stay_on_parts_where_they_are_understood() -> None:
    mark = {"type": "ephemeral"}
    (message,) = messages(user(text("A", cache_control=mark), text("B", cache_control=None)), profile=QWEN_CHAT)
    assert message["content"] == [text("A", cache_control=mark), text("B")]
