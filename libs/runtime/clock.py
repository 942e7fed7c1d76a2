"""The one place that reads the wall clock for records: Unix milliseconds."""

import time


def now_ms() -> int:
    return time.time_ns() // 1_000_000
