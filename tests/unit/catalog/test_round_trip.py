"""However a shelf is written and whichever way it travels, it stays the same shelf."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.contracts import catalog
from libs.contracts.catalog import Snapshot
from services.catalog.rules import Located, Refused, digest_of, read
from tests.fixtures.shelves import UNSHRUNK, documents
from tests.unit.catalog.toml_writer import Writer


def shuffled(value: Any, style: random.Random) -> Any:
    """The same tables with their keys in another order; the order of a list has a meaning and stays."""
    if isinstance(value, list):
        return [shuffled(item, style) for item in value]
    if not isinstance(value, dict):
        return value
    keys = style.sample(sorted(value), len(value))
    return {key: shuffled(value[key], style) for key in keys}


@given(documents(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None, phases=UNSHRUNK)
def test_an_accepted_file_gives_one_digest_however_it_is_written_and_sent(document: dict[str, Any], seed: int) -> None:
    style = random.Random(seed)  # noqa: S311 - a style of writing is no secret
    snapshot = read(Writer(style).write(document))
    again = read(Writer(style).write(shuffled(document, style)))
    assert again == snapshot
    assert digest_of(again) == digest_of(catalog.decode(catalog.encode(snapshot))) == digest_of(snapshot)
    assert {model.id for model in snapshot.models} == {
        name for name, model in document["models"].items() if model["enabled"]
    }


RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.text("aA0.-:/\u0663 ", max_size=5),
    st.just([]),
    st.just({}),
)


def damaged(value: Any, style: random.Random, rubbish: Any) -> Any:
    """A copy in which one thing, somewhere, is ``rubbish``; None takes it away."""
    if not isinstance(value, dict | list) or not value or style.random() < 0.1:
        return rubbish
    copy: Any = value.copy()
    key = style.choice(sorted(value)) if isinstance(value, dict) else style.randrange(len(value))
    copy[key] = damaged(value[key], style, rubbish)
    if copy[key] is None:
        del copy[key]
    return copy


@given(documents(), RUBBISH, st.integers(0, 2**32))
@settings(max_examples=100, deadline=None, phases=UNSHRUNK)
def test_a_damaged_file_is_read_or_refused_with_a_line_that_it_has(
    document: dict[str, Any], rubbish: Any, seed: int
) -> None:
    style = random.Random(seed)  # noqa: S311 - a style of writing is no secret
    broken = damaged(document, style, rubbish)
    text = Writer(style).write(broken if isinstance(broken, dict) else {})
    snapshot, mistakes = outcome(text)
    assert all(1 <= mistake.line <= 1 + text.count("\n") for mistake in mistakes)
    assert all(mistake.path and mistake.reason for mistake in mistakes)
    assert (snapshot is None) == bool(mistakes)


def outcome(text: str) -> tuple[Snapshot | None, list[Located]]:
    try:
        return read(text), []
    except Refused as refused:
        return None, refused.mistakes
