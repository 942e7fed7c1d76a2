"""An Anthropic stream for an Anthropic caller. Pure.

Rules: `message_start` has the input's figures, `message_delta` the cumulative output's; the answer ends at
`message_stop`, and a stream that already had its stop_reason counts as whole. After a tool block was opened a break may
only be shown by cutting the connection: Claude Code takes an error event there for the end of its turn.
"""

import msgspec

from libs import sse
from libs.errors import UpstreamFailed
from libs.pricing import Usage
from services.router import meter, refusals
from services.router.messages_wire import Happening, Part, decoder
from services.router.passage import NO_ANSWER, UNREADABLE, Passage, fields_of, id_of, raw, read, size_of, with_cost

STOP = sse.encode(b'{"type":"message_stop"}', "message_stop")


class MessagesPassage(Passage):
    """State of one stream. See ``Passage``."""

    def feed(self, event: sse.Event) -> bytes:
        try:
            seen = read(decoder, Happening, event.data)
            if not seen.type.isprintable():
                return self._fail(UpstreamFailed(NO_ANSWER))
            if seen.type == "error":
                return self._fail(refusals.declared(seen.error))
            data = self._for_the_caller(event.data, seen)
        except UNREADABLE:
            return self._fail(UpstreamFailed(NO_ANSWER))
        if seen.type == "message_stop":
            self.stop_reading = self.complete = True
            return b""
        self._see(seen)
        return sse.encode(data, seen.type)

    def closing(self) -> bytes:
        return STOP

    def _for_the_caller(self, data: bytes, seen: Happening) -> bytes:
        if seen.type == "message_start" and seen.message is not None:
            return self._started(data, seen.message)
        if seen.type == "message_delta":
            return self._last_figures(data, seen)
        return data

    def _started(self, data: bytes, message: Part) -> bytes:
        """The first event, under the name that was asked for."""
        self.usage = meter.of_messages(message.usage or {}, self.usage)
        self.upstream_id = id_of(message.id)
        if message.model is None or message.model == self._order.model:
            return data
        fields = fields_of(data)
        inner = fields_of(fields["message"])
        inner["model"] = self._model
        fields["message"] = raw(inner)
        return msgspec.json.encode(fields)

    def _last_figures(self, data: bytes, seen: Happening) -> bytes:
        """Only figures that name the output are the last ones, and figures that are all zero are none."""
        self.complete = self.complete or bool(seen.delta and seen.delta.stop_reason)
        if seen.usage is None:
            return data
        self.usage = meter.of_messages(seen.usage, self.usage)
        if seen.usage.get("output_tokens") is None or self.usage == Usage():
            return data
        self.final = True
        fields = fields_of(data)
        fields["usage"] = with_cost(fields["usage"], self.usage, self._order, self._started_ms)
        return msgspec.json.encode(fields)

    def _see(self, seen: Happening) -> None:
        if (block := seen.content_block) is not None:
            self.must_abort = self.must_abort or block.type == "tool_use"
            self.delivered += size_of(block.text)
        if (delta := seen.delta) is not None:
            self.delivered += sum(map(size_of, (delta.text, delta.thinking, delta.partial_json)))
