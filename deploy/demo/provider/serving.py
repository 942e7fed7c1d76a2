"""The account of one request while it is served: what has been handed over, and the two records of it."""

import time
from typing import Self

import msgspec

from deploy.demo.provider import outline
from deploy.demo.provider.ask import Ask
from deploy.demo.provider.caller import Call
from deploy.demo.provider.frames import Stamp
from deploy.demo.provider.journal import Ended, Journal, Record
from deploy.demo.provider.plan import Plan
from deploy.demo.provider.steps import Step
from libs.pricing import Usage
from libs.protocols import OPENAI_CHAT


class Serving:
    """One request. It is recorded as ended once, by whoever says so first."""

    def __init__(self, journal: Journal, arrived: Record, planned: Plan) -> None:
        self._journal, self._arrived, self._plan = journal, arrived, planned
        self._answered = self._ended = self._reported = False
        self._tokens = self._thinking = 0

    @classmethod
    def begin(cls, journal: Journal, call: Call, ask: Ask | None, planned: Plan, stamp: Stamp) -> Self:
        seen = outline.of(call.body)
        arrived = Record(
            event="arrived",
            at=_now_ms(),
            request=call.headers.get("x-client-request-id", ""),
            answer=stamp.nonce,
            provider=call.provider,
            protocol=call.protocol or OPENAI_CHAT,
            path=call.path,
            model=ask.model if ask else "",
            stream=ask.stream if ask else False,
            headers=tuple(sorted(call.headers)),
            credential=call.fingerprint,
            fields=seen.fields,
            roles=seen.roles,
        )
        journal.write(arrived)
        return cls(journal, arrived, planned)

    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        request_id = f"req_{self._arrived.answer}"
        headers = {"content-type": self._plan.type, "x-request-id": request_id, "request-id": request_id}
        if self._plan.type.startswith("text/event-stream"):
            headers["cache-control"] = "no-cache"
        if self._plan.retry_after is not None:
            headers["retry-after"] = str(self._plan.retry_after)
        return headers

    def answered(self) -> None:
        """The status has left: from here on something is billed."""
        self._answered = True

    def sent(self, step: Step) -> None:
        self._tokens += step.tokens
        self._thinking += step.thinking
        self._reported = self._reported or step.usage

    def close(self) -> None:
        """It ends as planned. Said before the last bytes leave, so that whoever has them finds it in the journal;
        a plan to hang never comes to its end."""
        if self._plan.ending != "hang":
            self.end(self._plan.ending)

    def end(self, ended: Ended) -> None:
        if self._ended:
            return
        self._ended = True
        self._journal.write(
            msgspec.structs.replace(
                self._arrived,
                event="ended",
                at=_now_ms(),
                status=self._plan.status if self._answered else 0,
                ended=ended,
                usage=self._billed(ended),
                reported=self._reported,
                tokens=self._tokens,
            )
        )

    def _billed(self, ended: Ended) -> Usage | None:
        """All of it when it was all sent or told or is made anyway, else the input and the tokens handed over."""
        usage = self._plan.usage
        if usage is None or self._reported or ended == "done" or (ended == "client_gone" and self._plan.runs_on):
            return usage
        if not self._answered:
            return None
        output = min(usage.output, self._tokens)
        return msgspec.structs.replace(usage, output=output, reasoning=min(usage.reasoning, self._thinking, output))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
