"""Fixtures that any test may ask for."""

pytest_plugins = (
    "tests.fixtures.stores",
    "tests.fixtures.provider",
    "tests.fixtures.gateway",
    "tests.fixtures.books",
    "tests.fixtures.lending",
    "tests.fixtures.reclaiming",
    "tests.fixtures.node",
    "tests.fixtures.tap",
    "tests.fixtures.agents",
    "tests.fixtures.speakers",
)
