"""Signs that a provider cut in two between events, made whole again. Pure.

JSON may say an emoji as two escapes, and some providers send one in each event. Half a pair cannot be written as UTF-8.
"""

from typing import Final

FIRST_HALF: Final = ("\ud800", "\udbff")
UTF16: Final = "utf-16-le"


class Halves:
    """One text that comes in pieces. A half waits for its other half; one that never gets it is not shown."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def join(self, piece: str) -> str:
        if piece.isascii() and not self._half:
            return piece
        text, self._half = self._half + piece, ""
        if FIRST_HALF[0] <= text[-1:] <= FIRST_HALF[1]:
            text, self._half = text[:-1], text[-1]
        return mended(text)


def mended(text: str) -> str:
    """The text with its pairs joined and what is half a pair replaced."""
    return text if text.isascii() else text.encode(UTF16, "surrogatepass").decode(UTF16, "replace")
