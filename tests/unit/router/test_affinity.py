"""Which requests belong together, so that a provider's prompt cache serves them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.affinity import DIGEST_BYTES, key
from tests.fixtures.strategies import thorough

CLIENTS = Path(__file__).parents[2] / "data" / "clients"
MARK = {"cache_control": {"type": "ephemeral"}}
ALONE = key(7, b"{}")


def of(*messages: Any, org: int = 7, **fields: Any) -> bytes:
    return key(org, msgspec.json.encode({"model": "m", "messages": messages, **fields}))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def text(words: str, **marks: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **marks}


ANSWER = {"role": "assistant", "content": "Hello."}
RULES = {"role": "system", "content": "Be brief."}


def test_it_is_a_digest_that_is_the_same_everywhere() -> None:
    assert len(ALONE) == DIGEST_BYTES
    assert ALONE.hex() == "9e287f590d2dcbbf387bfb70928e621d"


def test_all_turns_of_a_chat_have_one_key() -> None:
    first = of(RULES, user("Hi"))
    assert of(RULES, user("Hi"), ANSWER, user("More")) == first
    assert of(user("Hi"), ANSWER, user("More")) == of(user("Hi"))


def test_all_turns_of_a_conversation_with_a_system_field_have_one_key() -> None:
    assert of(user("Hi"), ANSWER, user("More"), system="Be brief.") == of(user("Hi"), system="Be brief.")


def test_marks_for_the_cache_that_move_from_turn_to_turn_change_nothing() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": "AAAA"}}
    first = of(user([image, text("Hi", **MARK)]), system=[text("Be brief.", **MARK)])
    assert of(user([image, text("Hi")]), ANSWER, user([text("More", **MARK)]), system=[text("Be brief.")]) == first
    assert of(user([{**image, **MARK}, text("Hi")]), system=[text("Be brief.")]) == first


def test_a_text_says_the_same_alone_and_as_a_block() -> None:
    assert of(user("Hi"), system="Be brief.") == of(user([text("Hi", **MARK)]), system=[text("Be brief.")])


def test_accounts_of_the_client_in_its_first_block_change_nothing() -> None:
    def system(accounts: str) -> list[dict[str, Any]]:
        return [text(f"x-anthropic-billing-header: {accounts}"), text("Be brief.")]

    assert of(user("Hi"), system=system("cch=1")) == of(user("Hi"), system=system("cch=2"))


@pytest.mark.parametrize(
    "other",
    [
        of(RULES, user("Ho")),
        of({**RULES, "content": "Be long."}, user("Hi")),
        of(RULES, user("Hi"), org=8),
        of(user("Hi")),
        of(RULES, user([text("Hi"), text("Hi")])),
        of(RULES, user([text("H"), text("i")])),
        of(RULES, user("Hi"), system="Be brief."),
    ],
)
def test_another_beginning_is_another_conversation(other: bytes) -> None:
    assert other != of(RULES, user("Hi"))


def test_pictures_are_told_apart() -> None:
    first, second = (user([text("What is this?"), {"type": "image_url", "image_url": {"url": url}}]) for url in "ab")
    assert of(first) != of(second)


def test_the_recorded_turns_of_a_client_belong_together() -> None:
    first, second = (
        msgspec.json.encode(json.loads((CLIENTS / name).read_bytes())["body"])
        for name in ("cc_fallback_nonstream.json", "cc_maxtokens_resume.json")
    )
    assert key(7, first) == key(7, second) != ALONE


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b'{"messages":[{"role":"user","content":"Hi"}]',
        b'{"messages":{"role":"user"}}',
        b'{"messages":["Hi"]}',
        b'{"messages":[3],"system":"Be brief."}',
        b'{"messages":' + b"[" * 100_000,
    ],
)
def test_what_makes_no_sense_has_the_org_s_key(broken: bytes) -> None:
    assert key(7, broken) == ALONE
    assert key(8, broken) != ALONE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "cache_control"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@thorough
@given(JSON, JSON)
def test_any_body_has_a_key(messages: Any, system: Any) -> None:
    body = msgspec.json.encode({"messages": messages, "system": system})
    assert len(key(7, body)) == DIGEST_BYTES
    assert key(7, body) == key(7, body)


@thorough
@given(st.binary(max_size=80))
def test_any_bytes_have_a_key(body: bytes) -> None:
    assert len(key(7, body)) == DIGEST_BYTES
