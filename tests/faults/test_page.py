"""docs/faults.md shows the matrix as it is."""

from pathlib import Path

from tests.faults import report
from tests.faults.matrix import SCENARIOS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_page_has_every_row() -> None:
    assert report.rows(SCENARIOS) in PAGE.read_text("utf-8")


def test_rows_have_names_of_their_own() -> None:
    numbers = [scenario.number for scenario in SCENARIOS]
    assert len(set(numbers)) == len(numbers)
