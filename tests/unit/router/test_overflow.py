"""A conversation that is too long: recognised in every provider's words, told in those that Claude Code acts on."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import errors
from libs.errors import ContextTooLong, InvalidRequest
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol
from services.router import overflow, refusals
from services.router.overflow import Overflow, read, sentence
from tests.fixtures.samples import VENDOR_CODES
from tests.fixtures.strategies import thorough

TOO_LONG = re.compile(r"prompt is too long[^0-9]*(\d+)\s*tokens?\s*>\s*(\d+)")  # what Claude Code looks for
TOO_MUCH = re.compile(r"input length and `max_tokens` exceed context limit: (\d+) \+ (\d+) > (\d+)")

WORDINGS = {
    "openai": (
        "This model's maximum context length is 65536 tokens. However, your messages resulted in 70001 tokens. "
        "Please reduce the length of the messages.",
        Overflow(70001, None, 65536),
    ),
    "deepseek": (
        "This model's maximum context length is 65536 tokens. However, you requested 92000 tokens (84000 in the "
        "messages, 8000 in the completion). Please reduce the length of the messages or completion.",
        Overflow(84000, 8000, 65536),
    ),
    "thousands": (
        "This model's maximum context length is 65,536 tokens. However, you requested 92,000 tokens (84,000 in the "
        "messages, 8,000 in the completion).",
        Overflow(84000, 8000, 65536),
    ),
    "anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", Overflow(210000, None, 200000)),
    "anthropic completion": (
        "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000, decrease input length or "
        "`max_tokens` and try again",
        Overflow(190000, 32000, 200000),
    ),
    "dashscope": (
        "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]",
        Overflow(None, None, 98304),
    ),
    "zhipu": ("Prompt exceeds max length", Overflow()),
    "vllm": (
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 "
        "tokens and your request has 100 input tokens (5000 > 4096 - 100).",
        Overflow(100, 5000, 4096),
    ),
    "vllm prompt": (
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens. Please "
        "reduce the length of the input messages.",
        Overflow(5000, None, 4096),
    ),
    "sglang": (
        "Requested token count exceeds the model's maximum context length of 131072 tokens. You requested a total of "
        "131091 tokens: 99091 tokens from the input messages and 32000 tokens for the completion.",
        Overflow(99091, 32000, 131072),
    ),
    "llama.cpp": (
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        Overflow(5000, None, 4096),
    ),
    "only a hint": ("Please reduce the length of your prompt", Overflow()),
    "window": ("The input exceeds the context window of this model", Overflow()),
    "bedrock": ("Input is too long for requested model.", Overflow()),
    "sum": ("input tokens exceed the limit", Overflow()),
}


@pytest.mark.parametrize("name", WORDINGS)
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_context_overflow_is_recognised_in_every_wording(name: str, change: type[str]) -> None:
    said, figures = WORDINGS[name]
    assert read(change(said)) == figures


@pytest.mark.parametrize("code", sorted(overflow.CODES))
def test_context_overflow_is_recognised_by_its_code(code: str) -> None:
    assert read("Too much.", (code, "invalid_request_error")) == Overflow()


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Invalid value for temperature",
        "max_tokens is too large: 999999. This model supports at most 16384 completion tokens",
        "Range of max_tokens should be [1, 8192]",
        "messages: text content blocks must be non-empty",
        "string too long. Expected a string with maximum length 64",
    ],
)
def test_another_complaint_is_no_overflow(said: str) -> None:
    assert read(said, ("invalid_request_error",)) is None


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("openai", ("70001", "65536")),
        ("deepseek", ("84000", "65536")),
        ("anthropic", ("210000", "200000")),
        ("dashscope", ("98305", "98304")),
        ("zhipu", ("128001", "128000")),
        ("vllm prompt", ("5000", "4096")),
        ("llama.cpp", ("5000", "4096")),
        ("only a hint", ("128001", "128000")),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_context_overflow_is_told_in_anthropic_s_words(protocol: Protocol, name: str, numbers: tuple[str, str]) -> None:
    """The estimate is lower than it should be: 90000 of 128000."""
    found = sentence(WORDINGS[name][1], protocol, 128_000, 90_000)
    assert found == f"prompt is too long: {numbers[0]} tokens > {numbers[1]} maximum"
    match = TOO_LONG.search(found)
    assert match is not None
    assert match.groups() == numbers


def test_context_overflow_without_numbers_uses_the_estimate_where_that_is_over_the_limit() -> None:
    assert sentence(Overflow(), OPENAI_CHAT, 128_000, 130_000) == "prompt is too long: 130000 tokens > 128000 maximum"
    assert sentence(Overflow(), OPENAI_CHAT, 0, 130_000) == "prompt is too long for this model"
    assert sentence(Overflow(5), OPENAI_CHAT, 0, 0) == "prompt is too long: 5 tokens"


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("anthropic completion", ("190000", "32000", "200000")),
        ("vllm", ("100", "5000", "4096")),
        ("sglang", ("99091", "32000", "131072")),
    ],
)
def test_context_overflow_of_the_answer_is_told_in_the_max_tokens_form(
    name: str, numbers: tuple[str, str, str]
) -> None:
    """Claude Code then asks for a shorter answer. OpenAI callers get the one wording that they know."""
    found = sentence(WORDINGS[name][1], ANTHROPIC_MESSAGES, 1000, 10)
    match = TOO_MUCH.fullmatch(found)
    assert match is not None
    assert match.groups() == numbers
    total = int(numbers[0]) + int(numbers[1])
    told = sentence(WORDINGS[name][1], OPENAI_CHAT, 1000, 10)
    assert told == f"prompt is too long: {total} tokens > {numbers[2]} maximum"


def test_a_provider_whose_sum_is_within_its_limit_is_not_quoted() -> None:
    found = sentence(Overflow(10, 20, 100), ANTHROPIC_MESSAGES, 100, 0)
    assert found == "prompt is too long: 101 tokens > 100 maximum"


@pytest.mark.parametrize("name", WORDINGS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("status", [400, 422])
def test_context_overflow_becomes_a_400_with_its_code(protocol: Protocol, name: str, status: int) -> None:
    said = WORDINGS[name][0]
    shapes = [
        {"error": {"message": said, "type": "invalid_request_error", "param": None, "code": None}},
        {"type": "error", "error": {"type": "invalid_request_error", "message": said}},
        {"code": "InvalidParameter", "message": said, "request_id": "x"},
        {"detail": said},
    ]
    for shape in shapes:
        body = json.dumps(shape).encode()
        found = refusals.refusal(status, body, protocol=protocol, context_tokens=128_000, prompt_tokens=90_000)
        assert type(found) is ContextTooLong
        assert (errors.status_of(found, protocol), found.code) == (400, "context_length_exceeded")
        assert TOO_LONG.search(found.message) or TOO_MUCH.search(found.message)
        assert not found.quotes_provider


def test_context_overflow_inside_an_answer_is_the_same_error() -> None:
    said = WORDINGS["deepseek"][0]
    for error in ({"message": said, "code": 400}, said, {"code": "context_length_exceeded"}, {"code": "1261"}):
        found = refusals.declared(
            error, errors=VENDOR_CODES, protocol=ANTHROPIC_MESSAGES, context_tokens=65536, prompt_tokens=7
        )
        assert type(found) is ContextTooLong
        assert TOO_LONG.search(found.message)


def test_context_overflow_by_a_code_of_the_catalog() -> None:
    body = b'{"error":{"code":"E7","message":"Too much: 7 of 5"}}'
    assert type(refusals.refusal(500, body, errors={"E7": "context"}, context_tokens=5)) is ContextTooLong
    assert type(refusals.refusal(400, body)) is InvalidRequest


@pytest.mark.parametrize("status", [401, 413, 429, 500, 503])
def test_words_about_the_context_mean_nothing_beside_another_status(status: int) -> None:
    body = b'{"error":{"message":"prompt is too long"}}'
    assert not isinstance(refusals.refusal(status, body), ContextTooLong)


@given(
    st.lists(st.sampled_from([said for said, _ in WORDINGS.values()] + ["9" * 40, "1,234", ",", "\n", "(5 > 4 - 3)"])),
    st.sampled_from(PROTOCOLS),
    st.integers(0, 1 << 31),
    st.integers(0, 1 << 31),
)
@thorough
def test_the_larger_number_always_stands_first(said: list[str], protocol: Protocol, limit: int, estimate: int) -> None:
    found = sentence(overflow.figures(" ".join(said)), protocol, limit, estimate)
    if match := TOO_LONG.search(found):
        assert int(match[1]) > int(match[2])
    elif match := TOO_MUCH.search(found):
        assert int(match[1]) + int(match[2]) > int(match[3]) >= int(match[1])
    else:
        assert limit == 0


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["9", "1,", "maximum context length ", "requested ", "[1,", "(9 > "])
def test_recognition_is_quick_on_hostile_text(unit: str) -> None:
    found = refusals.refusal(400, b'{"error":{"message":"context window ' + unit.encode() * 100_000 + b'"}}')
    assert type(found) is ContextTooLong
