"""What customers ask for: a seeded mixture of protocols, lengths, silences and providers that misbehave. Pure."""

import random
from typing import Any, Final, NamedTuple

from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol

PROTOCOLS: Final[tuple[Protocol, ...]] = (OPENAI_CHAT, ANTHROPIC_MESSAGES)
PATHS: Final[dict[Protocol, str]] = {OPENAI_CHAT: "/v1/chat/completions", ANTHROPIC_MESSAGES: "/v1/messages"}
MODELS: Final = ("deepseek-chat", "deepseek-chat", "glm-4-flash", "qwen-turbo")

# Share of the requests · what the provider is told to do.
PLAIN: Final = (60, "")
SLOW: Final = (15, "[sim: words=25 gap=0.02]")
KINDS: Final = (
    PLAIN,
    SLOW,
    (5, "[sim: first=0.6]"),
    (4, "[sim stream: cut=6]"),
    (3, "[sim: usage=none]"),
    (3, "[sim: status=500]"),
    (2, "[sim: status=429 retry_after=1]"),
    (3, "[sim: usage=out:90000]"),
    (2, "[sim: garbage]"),
    (3, "[sim stream: error_after=5]"),
)


class Asked(NamedTuple):
    """One request. ``leaves``: after how many pieces of the answer the caller hangs up; None for a patient one.
    ``raw`` is sent instead of the body."""

    protocol: Protocol
    body: dict[str, Any]
    leaves: int | None = None
    raw: bytes | None = None

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def path(self) -> str:
        return PATHS[self.protocol]


def asked(
    said: str = "",
    *,
    protocol: Protocol = OPENAI_CHAT,
    stream: bool = False,
    model: str = "deepseek-chat",
    cap: object = 50,
    leaves: int | None = None,
    **fields: Any,
) -> Asked:
    """A request that says this. ``cap`` None leaves ``max_tokens`` away."""
    given = {} if cap is None else {"max_tokens": cap}
    messages = [{"role": "user", "content": f"hello {said}".strip()}]
    return Asked(protocol, {"model": model, "messages": messages, "stream": stream, **given, **fields}, leaves)


def mixed(rng: random.Random, secret: str = "") -> Asked:
    """Any of all those. ``secret`` stands in the prompt, where it has to stay."""
    protocol = rng.choice(PROTOCOLS)
    said = rng.choices([text for _, text in KINDS], [share for share, _ in KINDS])[0]
    cap = None if protocol == OPENAI_CHAT and rng.random() < 0.05 else rng.randint(20, 80)
    stream, leaves = rng.random() < 0.5, None
    if rng.random() < 0.05:
        said, leaves = SLOW[1], rng.randint(0, 10)
    return asked(f"{secret} {said}", protocol=protocol, stream=stream, model=rng.choice(MODELS), cap=cap, leaves=leaves)


def calm(rng: random.Random, secret: str = "") -> Asked:
    """Requests that every provider answers."""
    protocol = rng.choice(PROTOCOLS)
    return asked(secret, protocol=protocol, stream=rng.random() < 0.5, cap=rng.randint(20, 80))
