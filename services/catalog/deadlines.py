"""How long a provider may take, as a model says it and as one of its offers changes it."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from services.catalog.fields import Fields

LOWEST: Final = 0.1
HIGHEST: Final[Mapping[str, float]] = {"connect": 60, "first": 3500, "idle": 3500, "total": 3500}
LONGEST: Final = "total"  # none of the others ends after it

Given: TypeAlias = Mapping[str, float]


def read_deadlines(fields: Fields, inherited: Given) -> Given:
    """What the table says, laid over what is inherited. Meaningless when mistakes were noted."""
    if fields.maybe("deadlines") is None:
        return inherited
    before, own = len(fields.mistakes), {}
    with fields.table("deadlines") as table:
        for name, most in HIGHEST.items():
            if table.maybe(name) is not None:
                own[name] = table.number(name, LOWEST, most)
    given = {**inherited, **own}
    if len(fields.mistakes) == before:
        _refuse_contradictions(table, own, given)
    return given if len(fields.mistakes) == before else inherited


def _refuse_contradictions(table: Fields, own: Given, given: Given) -> None:
    """A mistake stands where this table says something; the other word may be the model's."""
    for name in sorted(given.keys() - {LONGEST}):
        if LONGEST in given and given[name] > given[LONGEST]:
            table.wrong(*((f"is more than {LONGEST}", name) if name in own else (f"is less than {name}", LONGEST)))
