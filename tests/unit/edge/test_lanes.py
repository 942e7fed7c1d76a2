"""What one request learned of its org's credit holds for those who waited, and for nobody else."""

import pytest

from libs.contracts.account import LeaseAnswer
from services.edge.admission import Lane

POOR = LeaseAnswer("insufficient", 40)
DOUBT = LeaseAnswer("recovering", 40)
FROZEN = LeaseAnswer("frozen", 0)


@pytest.mark.parametrize(
    ("answer", "need", "same"),
    [
        (POOR, 100, True),
        (POOR, 101, True),
        (POOR, 99, False),  # what is in doubt could cover this one
        (DOUBT, 100, True),
        (DOUBT, 41, True),
        (DOUBT, 40, False),  # it fits
        (DOUBT, 101, False),  # this one could be too much even so
        (FROZEN, 1, True),
        (LeaseAnswer("ready", 40), 100, False),
    ],
)
def test_an_answer_holds_for_what_would_be_answered_the_same(answer: LeaseAnswer, need: int, same: bool) -> None:
    lane = Lane()
    turn = lane.turn
    lane.remember(100, answer)
    assert lane.refusal(turn, need) == (answer if same else None)


async def test_an_answer_may_be_older_than_who_comes_while_it_is_asked_for() -> None:
    lane = Lane()
    before = lane.turn
    async with lane.lock:
        turn = lane.turn
        lane.remember(100, POOR)
        assert lane.refusal(before, 100) == POOR
        assert lane.refusal(turn, 100) is None, "it was asked for before"
        lane.remember(100, POOR)
        assert lane.refusal(turn, 100) == POOR
    assert lane.refusal(lane.turn, 100) is None, "whoever comes later asks for himself"
