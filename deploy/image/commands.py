"""Running programs: one that people watch, and one whose answer is read."""

import subprocess
from collections.abc import Sequence


class ImageError(Exception):
    """One sentence that says what is wrong and what to do about it."""


def watched(command: Sequence[str]) -> None:
    """Runs a command in front of the user. Raises ImageError when it fails."""
    code = subprocess.run(command, check=False).returncode  # noqa: S603 - the commands are this package's own
    if code:
        raise ImageError(f"`{' '.join(command[:2])} …` failed ({code}); what it says stands above.")


def answer(command: Sequence[str], seconds: float = 60) -> str | None:
    """What a command prints; None when it fails, is missing or takes longer than ``seconds``."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands are this package's own
            command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
