"""The chunks of an openai_chat stream as the plain completion they make up. Pure.

For chunks of our own making and for those of a provider that only streams: nothing that it said is lost, known or not.
"""

from collections.abc import Iterable
from typing import Any, Final

from libs.errors import UpstreamFailed
from services.router.convert.answers.folded_choice import FoldedChoice, is_empty

Json = dict[str, Any]
NO_ANSWER: Final = "The provider sent something that is no answer."
HEAD: Final = ("id", "object", "created", "model")
STREAMS_ONLY: Final = frozenset({"obfuscation"})  # OpenAI's padding of stream events


def fold(chunks: Iterable[Json]) -> Json:
    """Raises UpstreamFailed where no chunk had choices. Of the head the first word counts, of all else the last."""
    head: Json = {}
    rest: Json = {}
    choices: dict[int, FoldedChoice] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name in HEAD and not is_empty(value):
                head.setdefault(name, value)
            elif name not in HEAD and name not in STREAMS_ONLY and not is_empty(value):
                rest[name] = value
        for choice in _choices(chunk):
            choices.setdefault(_index(choice), FoldedChoice()).take(choice)
    if not choices:
        raise UpstreamFailed(NO_ANSWER)
    head["object"] = "chat.completion"
    told = [choices[index].told(index, seed=f"{head.get('id')}") for index in sorted(choices)]
    return {**{name: head[name] for name in HEAD if name in head}, **rest, "choices": told}


def _choices(chunk: Json) -> list[Json]:
    choices = chunk.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _index(choice: Json) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0
