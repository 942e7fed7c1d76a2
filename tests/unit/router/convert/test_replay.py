"""Signed thinking: what is remembered, and what is made of the text that comes back."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.profile import Profile
from services.router.convert.replay import Restored, Signed, Thought, blocks, keys_of, restored, signed
from tests.fixtures.strategies import quick

ACCEPTS = Profile(unsigned_thinking=True)
REFUSES = Profile(unsigned_thinking=False)
THOUGHTS = (Thought("One. ", "sig-1"), Thought("Two.", "sig-2"), Thought("", "", "data"))
WORDS = st.text(max_size=12)


def remembered(thoughts: tuple[Thought, ...], *call_ids: str) -> dict[str, tuple[Signed, ...]]:
    return dict.fromkeys(keys_of(thoughts, call_ids), signed(thoughts))


def test_nothing_that_was_said_is_remembered() -> None:
    kept = msgspec.json.encode([keys_of(THOUGHTS, ["call_1"]), signed(THOUGHTS)])
    assert b"One" not in kept
    assert b"call_1" not in kept
    assert signed(THOUGHTS) == (Signed(5, "sig-1"), Signed(4, "sig-2"), Signed(0, "", "data"))


def test_there_is_a_key_for_each_call_and_one_for_the_text() -> None:
    assert len(set(keys_of(THOUGHTS, ["a", "b"]))) == 3
    assert keys_of(THOUGHTS, ["a"])[0] == keys_of(THOUGHTS[:1], ["a"])[0]
    assert len(keys_of([Thought("", "", "data")], ["a"])) == 1


def test_a_text_that_reads_like_an_id_has_another_key() -> None:
    assert len(set(keys_of([Thought("a", "sig")], ["a"]))) == 2


def test_unsigned_thinking_is_not_worth_remembering() -> None:
    assert keys_of([Thought("One.")], ["a"]) == ()
    assert keys_of([], ["a"]) == ()


@quick
@given(st.lists(st.builds(Thought, WORDS, st.just("sig")), min_size=1, max_size=5))
def test_the_text_is_cut_where_it_was(thoughts: list[Thought]) -> None:
    made = blocks("".join(thought.text for thought in thoughts), signed(thoughts), REFUSES)
    assert [block["thinking"] for block in made] == [thought.text for thought in thoughts]


def test_a_text_of_another_length_is_as_unknown() -> None:
    found = signed(THOUGHTS)
    assert blocks("One. Two", found, REFUSES) == []
    assert blocks("One. Two", found, ACCEPTS) == [{"type": "thinking", "thinking": "One. Two", "signature": ""}]


def test_redacted_thinking_comes_back_without_any_text() -> None:
    memory = remembered((Thought("", "", "data"),), "a")
    redacted = [{"type": "redacted_thinking", "data": "data"}]
    assert restored("", ["a"], memory.get, REFUSES) == Restored(redacted)


def test_two_turns_that_thought_the_same_are_told_apart_by_their_calls() -> None:
    first, second = (Thought("Hm.", "sig-1"),), (Thought("Hm.", "sig-2"),)
    memory = remembered(first, "a") | remembered(second, "b")
    assert restored("Hm.", ["a"], memory.get, REFUSES).blocks[0]["signature"] == "sig-1"
    assert restored("Hm.", ["b"], memory.get, REFUSES).blocks[0]["signature"] == "sig-2"


def test_a_memory_that_does_not_fit_leaves_room_for_one_that_does() -> None:
    """A caller may use an id of an earlier answer again."""
    memory = remembered((Thought("Other.", "sig-1"),), "a") | remembered((Thought("Hm.", "sig-2"),))
    assert restored("Hm.", ["a"], memory.get, REFUSES).blocks[0]["signature"] == "sig-2"


def test_thinking_that_cannot_go_back_is_lost() -> None:
    memory = remembered(THOUGHTS, "a")
    assert restored("Unknown.", [], memory.get, REFUSES) == Restored([], lost=True)
    assert restored("", ["a"], memory.get, REFUSES) == Restored([], lost=True)
    assert restored("", ["a"], memory.get, ACCEPTS) == Restored([], lost=True)
    assert restored("", ["z"], memory.get, REFUSES) == Restored([])
    assert restored("Unknown.", ["a"], memory.get, ACCEPTS).lost is False


def test_thinking_of_whitespace_is_none() -> None:
    assert blocks(" \n", None, ACCEPTS) == []
