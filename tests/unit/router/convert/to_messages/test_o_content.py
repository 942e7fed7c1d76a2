"""OpenAI content parts: text, images, files, and what no Messages provider takes."""

import base64
from typing import Any

import msgspec
import pytest

from libs.errors import InvalidRequest, UnsupportedParameter
from tests.fixtures.chat_requests import HELLO, PLAIN, assistant, call, converted, result, sent, text, user

BLIND = msgspec.structs.replace(PLAIN, vision=False, file_parts=False)
UNCACHED = msgspec.structs.replace(PLAIN, cache_control=False)
PDF = "data:application/pdf;base64,JVBERi0="
NOTES = "data:text/markdown;base64," + base64.b64encode("# Grüße".encode()).decode()
MARK = {"type": "ephemeral"}


def image(url: str) -> Any:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def file(data: Any, name: str = "a.pdf") -> Any:
    return {"type": "file", "file": {"filename": name, "file_data": data}}


def only_block(part: Any, **terms: Any) -> Any:
    (block,) = sent(user([part]), **terms)["messages"][0]["content"]
    return block


@pytest.mark.parametrize(
    ("uri", "media_type"),
    [
        ("data:image/png;base64,iVBO", "image/png"),
        ("data:image/jpg;base64,iVBO", "image/jpeg"),
        ("DATA:IMAGE/WEBP;charset=x;BASE64,iVBO", "image/webp"),
    ],
)
def test_o_image_data_uri_is_base64_of_its_media_type(uri: str, media_type: str) -> None:
    source = {"type": "base64", "media_type": media_type, "data": "iVBO"}
    assert only_block(image(uri)) == {"type": "image", "source": source}


def test_o_image_http_is_passed_on_as_a_url() -> None:
    source = {"type": "url", "url": "https://example.test/a.png"}
    assert only_block(image("https://example.test/a.png")) == {"type": "image", "source": source}
    assert only_block({"type": "image_url", "image_url": "https://example.test/a.png"})["source"] == source


@pytest.mark.parametrize(
    "url", ["data:image/svg+xml;base64,PHN2", "data:image/png,abc", "data:image/png;base64,", "ftp://a", "", None, {}]
)
def test_o_image_svg_or_what_is_no_image_is_refused_by_name(url: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converted(user([text("see"), image(url)]))
    assert raised.value.param == "messages[0].content[1].image_url"


def test_o_image_is_a_line_of_text_where_the_model_is_blind() -> None:
    omitted = text("[image omitted: this model does not accept images]")
    assert only_block(image("data:image/svg+xml;base64,PHN2"), profile=BLIND) == omitted


def test_o_image_in_a_tool_result_stays_there() -> None:
    body = sent(HELLO, assistant(None, call("a")), result("a", [image("data:image/png;base64,iVBO")]))
    assert body["messages"][2]["content"][0]["content"][0]["type"] == "image"


def test_o_file_pdf_is_a_document_with_its_name() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert only_block(file(PDF)) == {"type": "document", "source": source, "title": "a.pdf"}


def test_o_file_text_is_a_document_of_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "# Grüße"}
    assert only_block(file(NOTES, "a.md")) == {"type": "document", "source": source, "title": "a.md"}


def test_o_file_is_text_where_the_model_reads_no_files() -> None:
    assert only_block(file(PDF), profile=BLIND) == text("[document omitted: application/pdf, a.pdf]")
    assert only_block(file(NOTES, "a.md"), profile=BLIND) == text("a.md\n# Grüße")


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}, "messages[0].content[0]"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "messages[0].content[0].file"),
        (file("data:text/plain;base64,%%%"), "messages[0].content[0].file.file_data"),
        ({"type": "image", "source": {"type": "file", "file_id": "1"}}, "messages[0].content[0].source"),
    ],
)
def test_o_file_by_id_and_input_audio_are_refused_by_name(part: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converted(user([part]))
    assert raised.value.param == param


def test_o_file_input_audio_is_an_unsupported_parameter() -> None:
    with pytest.raises(UnsupportedParameter):
        converted(user([{"type": "input_audio", "input_audio": {}}]))


def test_an_image_and_a_document_of_the_other_protocol_are_taken() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
    paper = {"type": "document", "source": {"type": "url", "url": "https://example.test/a.pdf"}, "title": "a"}
    assert only_block(picture) == picture
    assert only_block(paper) == paper
    assert only_block(paper, profile=BLIND) == text("[document omitted: https://example.test/a.pdf, a]")


def test_an_unknown_part_is_shown_to_the_model_as_it_came() -> None:
    shown = only_block({"type": "video_url", "video_url": {"url": "https://example.test/" + "v" * 3000}})["text"]
    assert shown.startswith('{"type": "video_url"')
    assert len(shown) == 2000


def test_a_refusal_is_text() -> None:
    body = sent(
        HELLO, assistant([{"type": "refusal", "refusal": "no"}]), HELLO, assistant(None, refusal="never"), HELLO
    )
    assert body["messages"][1]["content"] == [text("no")]
    assert body["messages"][3]["content"] == [text("never")]


@pytest.mark.parametrize("words", [{"cache_control": MARK}, {"prompt_cache_breakpoint": True}])
def test_a_cache_mark_is_kept_in_either_spelling(words: Any) -> None:
    body = sent({"role": "system", "content": [{**text("s"), **words}]}, user([{**text("u"), **words}]))
    assert body["system"][0]["cache_control"] == MARK
    assert body["messages"][0]["content"][0]["cache_control"] == MARK


def test_a_cache_mark_inside_a_result_is_one_on_the_result() -> None:
    body = sent(HELLO, assistant(None, call("a")), result("a", [{**text("r"), "cache_control": MARK}]))
    marked = {"type": "tool_result", "tool_use_id": "a", "content": [text("r")], "cache_control": MARK}
    assert body["messages"][2]["content"] == [marked]


def test_of_too_many_cache_marks_the_last_four_stay() -> None:
    parts = [{**text(str(number)), "cache_control": MARK} for number in range(6)]
    blocks = sent(user(parts))["messages"][0]["content"]
    assert ["cache_control" in block for block in blocks] == [False, False, True, True, True, True]


def test_cache_marks_are_left_out_where_they_are_not_known() -> None:
    body = sent(user([{**text("u"), "cache_control": MARK}]), profile=UNCACHED)
    assert body["messages"][0]["content"] == [text("u")]
