"""The one place that reads clocks: the wall's for records, and one that never goes back for waiting."""

import time


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def tick_ms() -> int:
    """Milliseconds of a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000
