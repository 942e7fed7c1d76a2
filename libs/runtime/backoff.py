"""How long to wait before trying again something that is away."""

from typing import Final

SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


def after(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return SECONDS[min(max(failures, 1), len(SECONDS)) - 1]
