"""An anthropic_messages provider's stream: what it used, and whether it is whole. Pure.

Rules: `message_start` has the input's figures, `message_delta` the cumulative output's; the answer ends at
`message_stop`, and a stream that already had its stop_reason counts as whole.
"""

from libs import sse
from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError, UpstreamFailed
from services.router import meter
from services.router.messages_wire import Happening, Part, decoder
from services.router.passage import NO_ANSWER, NO_USAGE, UNKNOWN, Passage, Terms, id_of
from services.router.raws import UNREADABLE, read, size_of
from services.router.telling import Telling


class MessagesPassage(Passage):
    """State of one stream. See ``Passage``."""

    def __init__(self, order: Dispatch, telling: Telling[Happening], terms: Terms = UNKNOWN) -> None:
        super().__init__(order, telling, terms)

    def feed(self, event: sse.Event) -> bytes:
        try:
            seen = read(decoder, Happening, event.data)
            if not seen.type.isprintable():
                return self._fail(UpstreamFailed(NO_ANSWER))
            if seen.type == "error":
                return self._declared(seen.error)
            return self._seen(event.data, seen)
        except UNREADABLE:
            return self._fail(UpstreamFailed(NO_ANSWER))
        except GatewayError as error:
            return self._fail(error)

    def _seen(self, data: bytes, seen: Happening) -> bytes:
        if seen.type == "message_stop":
            self.stop_reading = self.complete = True
            return b""
        if seen.type == "message_start" and seen.message is not None:
            self._started(seen.message)
        elif seen.type == "message_delta":
            self._last_figures(seen)
        self._see(seen)
        return self._telling.tell(data, seen, self.usage if self.usage != NO_USAGE else None)

    def _started(self, message: Part) -> None:
        self.usage = meter.of_messages(message.usage or {}, self.usage)
        self.upstream_id = id_of(message.id)

    def _last_figures(self, seen: Happening) -> None:
        """Only figures that name the output are the last ones, and figures that are all zero are none."""
        self.complete = self.complete or bool(seen.delta and seen.delta.stop_reason)
        if seen.usage is None:
            return
        self.usage = meter.of_messages(seen.usage, self.usage)
        if seen.usage.get("output_tokens") is not None and self.usage != NO_USAGE:
            self.final = True

    def _see(self, seen: Happening) -> None:
        if (block := seen.content_block) is not None:
            self.delivered += size_of(block.text or block.name)
        if (delta := seen.delta) is not None:
            self.delivered += size_of(delta.text or delta.thinking or delta.partial_json)
