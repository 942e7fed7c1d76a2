"""The grammar of cues."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.provider import cues
from deploy.demo.provider.cues import BEFORE_HEADERS, BadCue, Cues, Figures


def test_a_text_without_a_cue_asks_for_nothing() -> None:
    assert cues.read("What does [simple] mean? [sim] [similar: x]") == Cues()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sim: status=429 retry_after=2]", Cues(status=429, retry_after=2)),
        ("Hello [sim: gap=0.02 words=200] there", Cues(gap=0.02, words=200)),
        ("[sim: delay=1] and [sim: first=2 delay=0.5]", Cues(delay=0.5, first=2)),
        ("[sim: tools=get_weather,get_time]", Cues(tools=("get_weather", "get_time"))),
        ('[sim: args=\'{"city": "Oslo"}\']', Cues(args='{"city": "Oslo"}')),
        ("[sim: cut=3]", Cues(cut=3)),
        ("[sim: cut]", Cues(cut=BEFORE_HEADERS)),
        ("[sim: hang]", Cues(hang=BEFORE_HEADERS)),
        ("[sim: garbage]", Cues(garbage="html")),
        ("[sim: garbage=json]", Cues(garbage="json")),
        ("[sim: chunking=odd,crlf]", Cues(chunking="odd", lines="crlf")),
        ("[sim: chunking=crlf]", Cues(lines="crlf")),
        ("[sim: usage=none]", Cues(report="never")),
        ("[sim: usage=in:10,out:20,every]", Cues(figures=Figures(input=10, output=20), report="every")),
        ("[sim: status=400 message='prompt is too long']", Cues(status=400, message="prompt is too long")),
    ],
)
def test_a_cue_is_read_from_the_text_around_it(text: str, expected: Cues) -> None:
    assert cues.read(text) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[sim: speed=9]", "'speed'"),
        ("[sim: figures=1]", "'figures'"),
        ("[sim: words]", "'words' needs a value"),
        ("[sim: words=many]", "words"),
        ("[sim: status=200]", "status"),
        ("[sim: delay=-1]", "delay"),
        ("[sim: delay=nan]", "delay"),
        ("[sim: usage=inn:3]", "inn"),
        ("[sim: usage=sometimes]", "sometimes"),
        ("[sim: chunking=heaps]", "heaps"),
        ("[sim: message='half]", "quotes"),
    ],
)
def test_a_bad_cue_is_named(text: str, names: str) -> None:
    with pytest.raises(BadCue, match=names):
        cues.read(text)


def test_a_cue_can_be_meant_for_some_requests_only() -> None:
    text = "[sim deepseek stream: cut=3] [sim plain: words=2]"
    assert cues.read(text, ("deepseek", "openai_chat", "stream")) == Cues(cut=3)
    assert cues.read(text, ("deepseek", "openai_chat", "plain")) == Cues(words=2)
    assert cues.read(text, ("qwen", "openai_chat", "stream")) == Cues()


def test_what_is_left_without_cues_is_what_the_user_said() -> None:
    assert cues.without("[sim: cut=3] Hello [there] [sim plain: words=2]") == "Hello [there]"


@given(st.text())
def test_any_text_is_read_or_refused_as_a_cue(text: str) -> None:
    assert isinstance(_read_or_refused(f"[sim: {text}]"), Cues | BadCue)


def _read_or_refused(text: str) -> Cues | BadCue:
    try:
        return cues.read(text)
    except BadCue as refused:
        return refused
