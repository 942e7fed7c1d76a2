"""Thinking that comes as `<think>…</think>` at the head of the text, told apart while it streams. Pure."""

from typing import Final, Literal

Kind = Literal["text", "thinking"]
Said = tuple[Kind, str]
OPEN: Final = "<think>"
CLOSE: Final = "</think>"


class ThinkTags:
    """One text in pieces. A tag may be cut anywhere, so what may be a tag's beginning waits. White space around the
    tags belongs to neither part."""

    def __init__(self) -> None:
        self._state: Literal["head", "thinking", "gap", "text"] = "head"
        self._held = ""
        self._silent = True  # nothing of the thinking was shown yet

    def take(self, piece: str) -> list[Said]:
        """What can be said by now."""
        if self._state == "text":
            return [("text", piece)]
        text, self._held = self._held + piece, ""
        if self._state == "head":
            return self._at_head(text)
        return self._thinking(text) if self._state == "thinking" else self._after(text)

    def rest(self) -> list[Said]:
        """What was held back, when something else follows or the answer ends."""
        held, self._held = self._held, ""
        if self._state == "thinking":
            return self._thought(held)
        if self._state == "head" and held:
            self._state = "text"
        return [("text", held)] if held else []

    def _at_head(self, text: str) -> list[Said]:
        head = text.lstrip()
        if head.startswith(OPEN):
            self._state = "thinking"
            return self._thinking(head[len(OPEN) :])
        if OPEN.startswith(head):
            self._held = text
            return []
        self._state = "text"
        return [("text", text)]

    def _thinking(self, text: str) -> list[Said]:
        thought, tag, after = text.partition(CLOSE)
        if tag:
            self._state = "gap"
            return [*self._thought(thought), *self._after(after)]
        kept = next((size for size in range(len(CLOSE) - 1, 0, -1) if text.endswith(CLOSE[:size])), 0)
        self._held = text[len(text) - kept :]
        return self._thought(text[: len(text) - kept])

    def _thought(self, text: str) -> list[Said]:
        shown = text.lstrip() if self._silent else text
        if not shown:
            return []
        self._silent = False
        return [("thinking", shown)]

    def _after(self, text: str) -> list[Said]:
        shown = text.lstrip()
        if not shown:
            return []
        self._state = "text"
        return [("text", shown)]
