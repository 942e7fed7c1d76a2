"""docs/configuration.md is what the settings say."""

from pathlib import Path

from services.configuration import page

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make docs`"


def test_every_setting_says_what_it_is() -> None:
    assert "| None |" not in page()
