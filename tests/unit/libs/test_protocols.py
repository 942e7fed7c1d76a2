"""Which protocol a path speaks."""

import pytest

from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol, protocol_of_path


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/v1/messages", ANTHROPIC_MESSAGES),
        ("/v1/messages/count_tokens", ANTHROPIC_MESSAGES),
        ("/v1/chat/completions", OPENAI_CHAT),
        ("/v1/models", OPENAI_CHAT),
        ("/", OPENAI_CHAT),
        ("", OPENAI_CHAT),
        ("/x/v1/messages", OPENAI_CHAT),
    ],
)
def test_errors_take_the_shape_of_the_path(path: str, protocol: Protocol) -> None:
    assert protocol_of_path(path) == protocol


def test_there_are_two_protocols() -> None:
    assert set(PROTOCOLS) == {OPENAI_CHAT, ANTHROPIC_MESSAGES}
